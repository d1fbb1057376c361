"""What ``python -m zkjax`` can do, one module a command; ``__main__`` puts them together."""
