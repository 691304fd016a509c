"""Exit waves by abTEM, as fixed vectors for the tests of this package.

    python3 -m venv venv && venv/bin/pip install abtem==1.0.11
    venv/bin/python tomography/peers/abtem_waves.py > tomography/tests/abtem.json

Two cases: abTEM's antialiasing aperture switched off, which is our multislice without apertures; and its default, in
which it also limits the band of every transmission function. abTEM propagates once more after the last slice.
"""
import json

import abtem
import dask
import numpy as np

dask.config.set(scheduler="single-threaded")
abtem.config.set({"precision": "float64", "diagnostics.progress_bar": False, "fft": "numpy"})

SHAPE, PIXEL, THICKNESS, VOLTS = (5, 20, 24), 0.8, 6.0, 300e3


def potential():
    """Smooth blobs, strong enough to scatter more than once: [slice, x, y] in V A."""
    rng = np.random.default_rng(20211013)
    slices, nx, ny = SHAPE
    x, y = np.meshgrid(np.arange(nx), np.arange(ny), indexing="ij")
    v = np.zeros(SHAPE)
    for s in range(slices):
        for _ in range(4):
            cx, cy, width, height = rng.uniform((0, 0, 1.0, 100), (nx, ny, 2.5, 600))
            dx, dy = (x - cx + nx / 2) % nx - nx / 2, (y - cy + ny / 2) % ny - ny / 2
            v[s] += height * np.exp(-(dx**2 + dy**2) / (2 * width**2))
    return v.round(6)


def exit_wave(v, cutoff):
    abtem.config.set({"antialias.cutoff": cutoff})
    slices = abtem.PotentialArray(v, slice_thickness=THICKNESS, sampling=PIXEL)
    beam = abtem.PlaneWave(energy=VOLTS, sampling=PIXEL, gpts=v.shape[1:], normalize=False)
    wave = beam.multislice(slices, lazy=False).array
    assert wave.dtype == np.complex128
    return {"re": wave.real.ravel().tolist(), "im": wave.imag.ravel().tolist()}


v = potential()
print(
    json.dumps(
        {
            "source": f"abTEM {abtem.__version__}",
            "shape": SHAPE,
            "pixel_angstrom": PIXEL,
            "thickness_angstrom": THICKNESS,
            "volts": VOLTS,
            "wavelength_angstrom": float(abtem.core.energy.energy2wavelength(VOLTS)),
            "interaction": float(abtem.core.energy.energy2sigma(VOLTS)),
            "potential": v.ravel().tolist(),
            "no_aperture": exit_wave(v, 10.0),
            "default_aperture": exit_wave(v, 0.6666666),
        }
    )
)
