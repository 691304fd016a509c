"""Sinograms of ASTRA's CPU projector `linear` (Joseph), for the test that compares ours with them.

    python3 -m venv venv && venv/bin/pip install astra-toolbox==2.5.0
    venv/bin/python tomography/peers/astra_joseph.py > tomography/tests/astra.json

Rows of ASTRA's volume are planes (z), columns are x. The volume is a pattern of small fractions, so that the test can
make the same one.
"""

import json

import astra
import numpy as np

PLANES, COLUMNS, PIXELS = 13, 18, 23
ANGLES = [-88.0, -77.0, -46.0, -44.0, -10.0, 0.0, 3.0, 33.3, 44.0, 46.0, 60.0, 89.0]

z, x = np.mgrid[0:PLANES, 0:COLUMNS]
volume = ((7 * z + 3 * x + z * x) % 16 / 16).astype(np.float32)
volumes = astra.create_vol_geom(PLANES, COLUMNS)
rays = astra.create_proj_geom("parallel", 1.0, PIXELS, np.deg2rad(ANGLES))
sinogram = astra.OpTomo(astra.create_projector("linear", rays, volumes)).FP(volume)
print(json.dumps({
    "version": astra.__version__,
    "planes": PLANES,
    "columns": COLUMNS,
    "pixels": PIXELS,
    "angles_deg": ANGLES,
    "sinogram": [[round(float(value), 6) for value in row] for row in sinogram],
}))
