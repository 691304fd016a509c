"""Other programs on the task of `cargo bench -p parthood-tomography --bench multislice`, one thread, CPU time.

    python3 -m venv venv && venv/bin/pip install abtem==1.0.11 pyfftw 'jax[cpu]'
    venv/bin/python tomography/peers/bench.py [--ours] [--size N ...]

64 slices of n x n, complex64, one focus. With --ours the Rust bench runs first, and ratios are printed beside it; only
ratios of one run mean something. numpy + scipy.fft has an adjoint written by hand; abTEM has none; jax differentiates.
"""
import argparse
import os
import re
import subprocess
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import scipy.fft as fft

SLICES, PIXEL, THICKNESS, DISTANCE = 64, 1.0, 4.0, -1000.0
WAVELENGTH, INTERACTION = 0.01968749, 6.5261614e-4
BUDGET_S = 3.0


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

    dask.config.set(scheduler="single-threaded")
    abtem.config.set({"diagnostics.progress_bar": False, "fft": library})
    v = (np.random.default_rng(0).random((SLICES, n, n)) * 40).astype(np.float32)
    potential = abtem.PotentialArray(v, slice_thickness=THICKNESS, sampling=PIXEL)
    beam = abtem.PlaneWave(energy=300e3, sampling=PIXEL, gpts=n)
    return {"forward": milliseconds(lambda: beam.multislice(potential, lazy=False))}


def ours():
    command = ["cargo", "bench", "-p", "parthood-tomography", "--bench", "multislice"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(text)
    found = re.findall(r"(forward|gradient)\s+n =\s*(\d+)\s+([\d.]+)", text)
    return {(task, int(n)): float(ms) for task, n, ms in found}


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--ours", action="store_true", help="run the Rust bench and print ratios")
parser.add_argument("--size", type=int, nargs="+", default=[256, 512], help="sizes of the waves")
arguments = parser.parse_args()
reference = ours() if arguments.ours else {}
for n in arguments.size:
    programs = {"numpy + scipy.fft": lambda: numpy_scipy(n)}
    for library in ("numpy", "fftw"):
        programs[f"abTEM, {library}"] = lambda library=library: abtem_forward(n, library)
    programs["jax, compiled"] = lambda: jax_compiled(n)
    for program, measure in programs.items():
        try:
            times = measure()
        except ImportError as error:
            print(f"{program:20} not installed: {error}")
            continue
        for task, ms in times.items():
            base = reference.get((task, n))
            ratio = f"{ms / base:8.1f} times ours" if base else ""
            print(f"{program:20} {task:10} n = {n:4} {ms:10.1f} ms {ratio}", flush=True)
