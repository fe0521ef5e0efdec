"""Vector fields f(t, x, θ), any of whose parameters a controller can set for every sample."""
