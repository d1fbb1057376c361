"""zkjax."""
