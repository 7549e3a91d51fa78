"""A run from request to durable end: started, queued, executed under a lease, taken over, finished."""
