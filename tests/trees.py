"""JSON trees with a change at one place; what is not changed is shared, so nobody may alter it."""


def places(value, path=()):
    """Every value in a JSON tree with its path, containers included."""
    yield path, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def at(tree, path):
    """The value at a path."""
    for key in path:
        tree = tree[key]
    return tree


def changed(tree, path, change):
    """The tree with ``change(container, key)`` made at a path."""
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    if len(path) == 1:
        change(copy, path[0])
    else:
        copy[path[0]] = changed(tree[path[0]], path[1:], change)
    return copy


def with_value(tree, path, value):
    """The tree with another value at a path."""
    return changed(tree, path, lambda container, key: container.__setitem__(key, value)) if path else value


def without(tree, path):
    """The tree without what is at a path."""
    return changed(tree, path, lambda container, key: container.__delitem__(key))
