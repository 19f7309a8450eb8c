"""Where tasks and actors may run: Ray's strategies, on one machine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skate.util.placement_group import PlacementGroup


class PlacementGroupSchedulingStrategy:
    """In a placement group.

    Attributes:
        placement_group: Which one; None is outside of any.
        placement_group_bundle_index: In which of its bundles; -1 is in any.
        placement_group_capture_child_tasks: Whether what the task or actor starts, and which names
            no strategy of its own, runs in the group, too.
    """

    def __init__(
        self,
        placement_group: PlacementGroup | None,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks


class NodeAffinitySchedulingStrategy:
    """On that node, or (soft) rather there. There is one node."""

    def __init__(self, node_id: str, soft: bool, **_others: object) -> None:
        self.node_id = node_id
        self.soft = soft
