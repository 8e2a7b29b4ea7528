"""The inference protocols on the wire: v1.py, v2.py, tensors.py (JSON to NumPy and back), errors.py."""
