"""`dag`: how parts of the input are found, and graphs that are deep."""

from types import SimpleNamespace

import pytest

from skate.dag import InputNode


@pytest.fixture
def same(skate):
    return skate.remote(lambda value: value)


def test_an_item_is_no_attribute(skate, same):
    """`x["items"]` gave the method of that name."""
    with InputNode() as x:
        item, attribute = same.bind(x["items"]), same.bind(x.items)
    assert skate.get(item.execute({"items": 3})) == 3
    assert skate.get(attribute.execute(SimpleNamespace(items=4))) == 4
    with pytest.raises(TypeError, match="not str"):
        item.execute([1, 2])
    with pytest.raises(AttributeError, match="items"):
        attribute.execute([1, 2])


def test_a_graph_may_be_deep(skate, same):
    """Nodes were called one inside of the other, to the interpreter's limit."""
    with InputNode() as x:
        node = x
        for _ in range(400):
            node = same.bind(node)
    assert skate.get(node.execute(7)) == 7
