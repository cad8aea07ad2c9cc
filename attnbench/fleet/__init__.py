"""One sweep over many machines: groups and what they need, leases, workers, what is known of them. No torch.

The folder of the run is the queue. Whoever sees it may start a worker, at any time, and kill it at any time.
"""
