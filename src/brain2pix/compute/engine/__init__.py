"""Jobs in the background, here or on another machine, through dask: a server that queues and supervises, and clients that ask it.

Nothing is imported here. `client.Engine` is the way in; `registry` and `states` say how jobs stand without dask and without a server.
"""
