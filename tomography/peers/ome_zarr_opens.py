"""What zarr and ome-zarr make of a folder that we wrote, as JSON: the test `zarr_of_python_opens_what_is_written` compares it.

    python3 -m venv venv && venv/bin/pip install ome-zarr
    venv/bin/python tomography/peers/ome_zarr_opens.py volume.zarr

napari opens such folders by ome-zarr's reader. Where napari and napari-ome-zarr are installed, too, the folder is opened as a
layer of its viewer, without a window. The status is 42 where the packages are not installed.
"""

import contextlib
import json
import sys

try:
    import numpy as np
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(42)

folder = sys.argv[1]
group = zarr.open_group(folder, mode="r")
image = next(iter(Reader(parse_url(folder, mode="r"))()))
scales = []
for index, read in enumerate(image.data):
    bare, read = np.asarray(group[str(index)]), np.asarray(read)
    assert bare.dtype == np.float32 and bare.shape == read.shape and (bare == read).all(), index
    places = [[0, 0, 0], [n - 1 for n in bare.shape], [n // 2 for n in bare.shape]]
    scales.append({
        "shape": list(bare.shape),
        "at": [float(bare[tuple(place)]) for place in places],
        "sum": float(bare.astype(np.float64).sum()),
        "transformations": image.metadata["coordinateTransformations"][index],
    })


def layers():
    """What napari shows: of each layer its kind, whether it has scales, their extents and the side of a voxel."""
    try:
        from napari.components import ViewerModel
        from napari.layers import Layer
        from napari_ome_zarr import napari_get_reader
    except ImportError:
        return None
    viewer = ViewerModel()
    # The reader prints.
    with contextlib.redirect_stdout(sys.stderr):
        for data in napari_get_reader(folder)(folder):
            viewer.add_layer(Layer.create(*data))
    shown = []
    for layer in viewer.layers:
        shapes = [list(scale.shape) for scale in (layer.data if layer.multiscale else [layer.data])]
        shown.append([layer._type_string, layer.multiscale, shapes, list(layer.scale)])
    return shown


print(json.dumps({
    "versions": [zarr.__version__, np.__version__],
    "axes": [[axis["name"], axis["type"], axis.get("unit")] for axis in image.metadata["axes"]],
    "scales": scales,
    "layers": layers(),
}))
