"""The HTTP service: the verbs of `sync` over HTTP, for programs. It words requests and answers, no more.

Every answer is JSON; every error is problem+json with `code` and `request_id`. What a route needs is said in
`permissions.py`, and a route that is not there is denied.
"""
