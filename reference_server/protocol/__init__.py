"""The inference protocols on the wire: v1.py, v2.py, generate.py, management.py (load and unload), metrics.py.

Beneath them: routes.py and body.py (how a request gets in, and what bounds it), messages.py (every JSON body, also for
openapi.py), tensors.py and binary.py (to NumPy and back), reply.py, events.py and errors.py (how an answer gets out).
"""
