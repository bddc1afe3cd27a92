"""madre's HTTP face: tokens, endpoint policy, rate limit and routes over `windows/`, which knows nothing of HTTP."""
