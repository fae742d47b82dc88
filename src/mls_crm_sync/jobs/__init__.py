"""The engine room: workers that take what waits, keep it by their heartbeat, and give back what others left behind.

It knows locations of runs as things to be done, and nothing of what doing them means: that is `sync.work`'s.
"""
