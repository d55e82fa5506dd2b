"""Clock, identifiers, digests and errors. Standard library only; knows nothing of cameras, law or storage."""
