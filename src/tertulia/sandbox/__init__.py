"""Where users' tools run.

``service``, ``nursery`` and ``calls`` are the server's side. The others run in the tool's environment and import the
standard library alone.
"""
