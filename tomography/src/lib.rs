//! Electron tomography by sub-volumes that equal the whole.
