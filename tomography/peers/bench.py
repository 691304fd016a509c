"""Other programs on the tasks of `cargo bench -p parthood-tomography`, one thread, CPU time.

    python3 tomography/peers/bench.py --ours --install VENV      # makes the environment and begins again in it
    VENV/bin/python tomography/peers/bench.py [--ours] [--size N ...] [--only NAME ...]

Waves: 64 slices of n x n, complex64, one focus. numpy + scipy.fft has an adjoint written by hand; abTEM has none; jax and
torch differentiate. Rays: 61 tilts of n x n, per y-slice: the projectors and an iteration of SIRT; the matrix of scipy has
sixteen y-slices at once, as ours. With --ours the Rust benches run before and after them and the lesser time counts;
ratios are printed, beside what was aimed at; the status is 1 if an aim is missed. Only ratios of one run mean something. What is not installed is passed over.
"""
import argparse
import os
import re
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

PACKAGES = {
    "numpy": "numpy", "scipy": "scipy", "abtem": "abtem==1.0.11", "pyfftw": "pyfftw", "jax": "jax[cpu]",
    "astra": "astra-toolbox==2.5.0", "torch": "torch",
}

SLICES, PIXEL, THICKNESS, DISTANCE = 64, 1.0, 4.0, -1000.0
WAVELENGTH, INTERACTION = 0.01968749, 6.5261614e-4
BUDGET_S = 3.0
TILTS = list(range(-60, 61, 2))
ROWS = 16


def milliseconds(run):
    """The least CPU time of several runs."""
    run()
    start, least = time.process_time(), float("inf")
    while time.process_time() - start < BUDGET_S:
        before = time.process_time()
        run()
        least = min(least, time.process_time() - before)
    return 1e3 * least


def numpy_scipy(n):
    import numpy as np
    import scipy.fft as fft

    v = (np.random.default_rng(0).random((SLICES, n, n)) * 40).astype(np.float32)
    k = fft.fftfreq(n, PIXEL)
    k2 = k[:, None] ** 2 + k[None] ** 2
    free = np.exp(-1j * np.pi * WAVELENGTH * THICKNESS * k2).astype(np.complex64)
    lens = np.exp(-1j * np.pi * WAVELENGTH * DISTANCE * k2) * (np.sqrt(k2) < 1 / (3 * PIXEL))
    lens = lens.astype(np.complex64)
    sigma = np.float32(INTERACTION)
    waves = np.empty((SLICES, n, n), np.complex64)
    gradient = np.empty_like(v)

    def forward(keep=False):
        psi = np.ones((n, n), np.complex64)
        for s in range(SLICES):
            psi *= np.exp(1j * (sigma * v[s]))
            if keep:
                waves[s] = psi
            psi = fft.ifft2(fft.fft2(psi) * (free if s + 1 < SLICES else lens), overwrite_x=True)
        return psi

    def with_gradient():
        psi = forward(True)
        modulus = np.abs(psi)
        q = fft.ifft2(fft.fft2((modulus - 1) * psi / modulus) * lens.conj())
        for s in reversed(range(SLICES)):
            gradient[s] = sigma * np.imag(q * waves[s].conj())
            q *= np.exp(-1j * (sigma * v[s]))
            if s:
                q = fft.ifft2(fft.fft2(q) * free.conj(), overwrite_x=True)

    return {"forward": milliseconds(forward), "gradient": milliseconds(with_gradient)}


def jax_compiled(n):
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax
    import jax.numpy as jnp
    import numpy as np
    import scipy.fft as fft

    v = jnp.asarray((np.random.default_rng(0).random((SLICES, n, n)) * 40).astype(np.float32))
    k = fft.fftfreq(n, PIXEL)
    k2 = k[:, None] ** 2 + k[None] ** 2
    free = jnp.asarray(np.exp(-1j * np.pi * WAVELENGTH * THICKNESS * k2).astype(np.complex64))
    lens = np.exp(-1j * np.pi * WAVELENGTH * DISTANCE * k2) * (np.sqrt(k2) < 1 / (3 * PIXEL))
    lens = jnp.asarray(lens.astype(np.complex64))

    def loss(v):
        def step(psi, slab):
            return jnp.fft.ifft2(jnp.fft.fft2(psi * jnp.exp(1j * INTERACTION * slab)) * free), None

        psi, _ = jax.lax.scan(step, jnp.ones((n, n), jnp.complex64), v[:-1])
        psi = jnp.fft.ifft2(jnp.fft.fft2(psi * jnp.exp(1j * INTERACTION * v[-1])) * lens)
        return 0.5 * jnp.sum((jnp.abs(psi) - 1) ** 2)

    forward, gradient = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    return {
        "forward": milliseconds(lambda: forward(v).block_until_ready()),
        "gradient": milliseconds(lambda: gradient(v)[1].block_until_ready()),
    }


def abtem_forward(n, library):
    import abtem
    import dask
    import numpy as np

    dask.config.set(scheduler="single-threaded")
    abtem.config.set({"diagnostics.progress_bar": False, "fft": library})
    v = (np.random.default_rng(0).random((SLICES, n, n)) * 40).astype(np.float32)
    potential = abtem.PotentialArray(v, slice_thickness=THICKNESS, sampling=PIXEL)
    beam = abtem.PlaneWave(energy=300e3, sampling=PIXEL, gpts=n)
    return {"forward": milliseconds(lambda: beam.multislice(potential, lazy=False))}


def torch_autograd(n):
    import math
    import torch

    torch.set_num_threads(1)
    v = torch.rand((SLICES, n, n), generator=torch.Generator().manual_seed(0)) * 40
    k = torch.fft.fftfreq(n, PIXEL)
    k2 = k[:, None] ** 2 + k[None] ** 2
    free = torch.exp(-1j * math.pi * WAVELENGTH * THICKNESS * k2).to(torch.complex64)
    lens = torch.exp(-1j * math.pi * WAVELENGTH * DISTANCE * k2) * (k2.sqrt() < 1 / (3 * PIXEL))
    lens = lens.to(torch.complex64)

    def wave(v):
        psi = torch.ones((n, n), dtype=torch.complex64)
        for s in range(SLICES):
            kernel = free if s + 1 < SLICES else lens
            psi = torch.fft.ifft2(torch.fft.fft2(psi * torch.exp(1j * (INTERACTION * v[s]))) * kernel)
        return psi

    def forward():
        with torch.no_grad():
            wave(v)

    def gradient():
        variable = v.clone().requires_grad_()
        (0.5 * ((wave(variable).abs() - 1) ** 2).sum()).backward()

    return {"forward": milliseconds(forward), "gradient": milliseconds(gradient)}


def joseph(n, degrees):
    """Joseph's matrix of one tilt, from the formulas: rows are pixels, columns voxels (z, x)."""
    import numpy as np
    import scipy.sparse as sparse

    sin, cos = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    centred = np.arange(n) - (n - 1) / 2
    upright = cos >= abs(sin)
    place = (centred[:, None] + centred * sin) / cos if upright else (centred * cos - centred[:, None]) / sin
    place += (n - 1) / 2
    low = np.floor(place).astype(int)
    entries = []
    for voxel, weight in ((low, 1 - place + low), (low + 1, place - low)):
        pixel, step = np.nonzero((voxel >= 0) & (voxel < n) & (weight > 0))
        across = voxel[pixel, step]
        column = step * n + across if upright else across * n + step
        entries.append((weight[pixel, step] / max(cos, abs(sin)), pixel, column))
    weights, rows, columns = (np.concatenate(parts) for parts in zip(*entries))
    return sparse.csr_matrix((weights.astype(np.float32), (rows, columns)), shape=(n, n * n))


def scipy_matrix(n):
    import numpy as np
    import scipy.sparse as sparse

    forth = sparse.vstack([joseph(n, degrees) for degrees in TILTS]).tocsr()
    back = forth.T.tocsr()
    volume = np.random.default_rng(0).random((n * n, ROWS), dtype=np.float32)
    images = forth @ volume
    row_weights = 1 / np.maximum(forth @ np.ones((n * n, 1), np.float32), 1e-6)
    column_weights = 1 / np.maximum(back @ np.ones((len(images), 1), np.float32), 1e-6)

    def iterate():
        volume[:] = volume + column_weights * (back @ (row_weights * (images - forth @ volume)))

    return {
        "projection": milliseconds(lambda: forth @ volume) / ROWS,
        "back projection": milliseconds(lambda: back @ images) / ROWS,
        "iteration of SIRT": milliseconds(iterate) / ROWS,
    }


def astra_linear(n):
    import astra
    import numpy as np

    volumes = astra.create_vol_geom(n, n)
    rays = astra.create_proj_geom("parallel", 1.0, n, np.deg2rad(TILTS))
    projector = astra.create_projector("linear", rays, volumes)
    operator = astra.OpTomo(projector)
    volume = np.random.default_rng(0).random((n, n), dtype=np.float32)
    images = operator.FP(volume)
    settings = astra.astra_dict("SIRT")
    settings["ReconstructionDataId"] = astra.data2d.create("-vol", volumes)
    settings["ProjectionDataId"] = astra.data2d.create("-sino", rays, images)
    settings["ProjectorId"] = projector
    sirt = astra.algorithm.create(settings)
    return {
        "projection": milliseconds(lambda: operator.FP(volume)),
        "back projection": milliseconds(lambda: operator.BP(images)),
        "iteration of SIRT": milliseconds(lambda: astra.algorithm.run(sirt, 5)) / 5,
    }


PEERS = {
    "numpy + scipy.fft": numpy_scipy,
    "abTEM, numpy": lambda n: abtem_forward(n, "numpy"),
    "abTEM, fftw": lambda n: abtem_forward(n, "fftw"),
    "jax, compiled": jax_compiled,
    "torch, autograd": torch_autograd,
    "scipy, CSR": scipy_matrix,
    "ASTRA, linear": astra_linear,
}
GOALS = {
    ("abTEM, fftw", "forward"): 4.0, ("jax, compiled", "forward"): 2.0, ("jax, compiled", "gradient"): 2.5,
    ("torch, autograd", "gradient"): 10.0, ("ASTRA, linear", "iteration of SIRT"): 10.0,
    ("scipy, CSR", "iteration of SIRT"): 1.5,
}


def install(folder):
    """Makes an environment with all peers that can be had, and begins again in it."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = os.path.join(folder, "bin", "python")
    for package in PACKAGES.values():
        if subprocess.run([python, "-m", "pip", "install", "--quiet", package]).returncode:
            print(f"{package} cannot be installed; it is left out")
    rest = [word for word in sys.argv if word not in ("--install", folder)]
    os.execv(python, [python, *rest])


def ours(benches):
    """The least of each time that the Rust benches print, by task and size."""
    found = {}
    for bench in benches:
        command = ["cargo", "bench", "-p", "parthood-tomography", "--bench", bench]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(text, flush=True)
        for task, n, ms in re.findall(r"^(\w[\w ]*?)\s+n =\s*(\d+)\s+([\d.]+)", text, re.MULTILINE):
            found[task, int(n)] = float(ms)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", action="store_true", help="run the Rust benches and print ratios")
    parser.add_argument("--size", type=int, nargs="+", default=[256, 512], help="sizes of waves and slices")
    parser.add_argument("--only", nargs="+", default=list(PEERS), choices=list(PEERS), help="these peers alone")
    parser.add_argument("--install", metavar="VENV", help="make an environment with the peers first")
    arguments = parser.parse_args()
    if arguments.install:
        install(arguments.install)
    benches = ["multislice", "projector"] if arguments.ours else []
    reference, measured = ours(benches), []
    for n in arguments.size:
        for program in arguments.only:
            try:
                times = PEERS[program](n)
            except ImportError as error:
                print(f"{program}: not installed ({error})")
                continue
            for task, ms in times.items():
                measured.append((program, task, n, ms))
                print(f"{program:20} {task:18} n = {n:4} {ms:10.2f} ms", flush=True)
    for key, ms in ours(benches).items():
        reference[key] = min(ms, reference[key])
    missed = 0
    for program, task, n, ms in measured if reference else []:
        ratio, goal = ms / reference[task, n], GOALS.get((program, task))
        missed += bool(goal and ratio < goal)
        verdict = f"   aim {goal}: {'met' if ratio >= goal else 'missed'}" if goal else ""
        print(f"{program:20} {task:18} n = {n:4} {ratio:10.2f} times ours{verdict}")
    return int(missed > 0)


sys.exit(main())
