"""The names of Ray's own binding that programs use: the classes of refs and generators."""

from skate._actor_handle import ActorID
from skate._generator import DynamicObjectRefGenerator, ObjectRefGenerator
from skate._native import ObjectRef

StreamingObjectRefGenerator = ObjectRefGenerator
ObjectID = ObjectRef

__all__ = [
    "ActorID",
    "DynamicObjectRefGenerator",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "StreamingObjectRefGenerator",
]
