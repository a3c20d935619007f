"""Where servers go."""

from app.domain.placement import Choice, Misfit, NodeRoom, Source, StorageRoom, Want, WantedDisk, choose, survey

SHARED = Source("pve1", "nfs", True)
LOCAL = Source("pve2", "local-lvm", False)


def node(
    name: str, free_mib: int = 8192, online: bool = True, cores: int = 8, nfs_gib: int = 1000, lvm_gib: int = 100
) -> NodeRoom:
    storages = (
        StorageRoom("local", False, False, 50), StorageRoom("local-lvm", False, True, lvm_gib), StorageRoom("nfs", True, True, nfs_gib),
    )  # fmt: skip
    return NodeRoom(name, online, cores, 16384, free_mib, storages, frozenset({"vmbr0"}))


def want(memory_mib: int = 1024, cores: int = 1, gib: int = 10, **more: object) -> Want:
    return Want(cores, memory_mib, (WantedDisk(gib),), bridges=frozenset({"vmbr0"}), **more)  # type: ignore[arg-type]


def one(wanted: Want, nodes: list[NodeRoom], source: Source = SHARED) -> Choice | Misfit:
    return choose([wanted], nodes, source)[0]


def code(found: Choice | Misfit) -> str:
    assert isinstance(found, Misfit), found
    return found.code


def test_the_node_with_most_free_memory_is_taken_and_the_templates_storage() -> None:
    assert one(want(), [node("pve1", 2048), node("pve2", 4096)]) == Choice("pve2", ("nfs",))


def test_a_batch_is_spread_and_counts_against_itself() -> None:
    found = choose([want(4096)] * 4, [node("pve1", 8192), node("pve2", 8192)], SHARED)
    assert [c.node for c in found if isinstance(c, Choice)] == ["pve1", "pve2", "pve1", "pve2"]
    assert code(choose([want(4096)] * 5, [node("pve1", 8192), node("pve2", 8192)], SHARED)[4]) == "node_memory_full"


def test_storage_counts_across_nodes_when_it_is_shared() -> None:
    nodes = [node("pve1", nfs_gib=25, lvm_gib=0), node("pve2", nfs_gib=25, lvm_gib=0)]
    found = choose([want(gib=10)] * 3, nodes, SHARED)
    assert [type(f) for f in found] == [Choice, Choice, Misfit] and code(found[2]) == "storage_full"


def test_a_full_template_storage_gives_way_to_the_one_with_most_room() -> None:
    assert one(want(gib=50), [node("pve1", nfs_gib=20, lvm_gib=80)]) == Choice("pve1", ("local-lvm",))


def test_a_template_on_local_storage_stays_on_its_node() -> None:
    assert one(want(), [node("pve1", 9000), node("pve2", 2048)], LOCAL) == Choice("pve2", ("local-lvm",))
    assert code(one(want(node="pve1"), [node("pve1"), node("pve2")], LOCAL)) == "template_on_other_node"


def test_an_offline_template_node_stops_everything() -> None:
    assert code(one(want(), [node("pve1", online=False), node("pve2")])) == "template_node_offline"


def test_reasons_are_those_of_the_node_that_came_furthest() -> None:
    nodes = [node("pve1"), node("pve2", online=False)]
    assert code(one(want(cores=9), nodes)) == "node_too_small_cores"
    assert code(one(want(32768), nodes)) == "node_too_small_memory"
    assert code(one(want(9000), nodes)) == "node_memory_full"
    assert code(one(want(gib=5000), nodes)) == "storage_full"


def test_a_chosen_node_is_respected() -> None:
    nodes = [node("pve1", 2048), node("pve2", 8192), node("pve3", online=False)]
    assert one(want(node="pve1"), nodes) == Choice("pve1", ("nfs",))
    assert code(one(want(4096, node="pve1"), nodes)) == "node_memory_full"
    assert code(one(want(node="pve3"), nodes)) == "node_offline"
    assert code(one(want(node="pve9"), nodes)) == "node_unknown"


def test_chosen_storages_are_checked_one_by_one() -> None:
    def disks(*wanted: WantedDisk) -> Choice | Misfit:
        return one(Want(1, 512, wanted), [node("pve1", lvm_gib=30)])

    assert disks(WantedDisk(10), WantedDisk(20, "local-lvm")) == Choice("pve1", ("nfs", "local-lvm"))
    assert code(disks(WantedDisk(10, "local"))) == "storage_not_images"
    assert code(disks(WantedDisk(10, "nope"))) == "storage_unknown"
    full = disks(WantedDisk(20, "local-lvm"), WantedDisk(20, "local-lvm"))
    assert isinstance(full, Misfit) and (full.code, full.field) == ("storage_full", "disks.1.storage")


def test_a_bridge_must_be_on_the_node() -> None:
    assert (
        code(one(Want(1, 512, (WantedDisk(1),), bridges=frozenset({"vmbr9"})), [node("pve1")])) == "bridge_not_on_node"
    )


def test_a_clone_to_another_node_goes_to_shared_storage_only() -> None:
    chosen = Want(1, 1024, (WantedDisk(10, "local-lvm"),), bridges=frozenset({"vmbr0"}))
    assert one(chosen, [node("pve1", 2048), node("pve2", 4096)]) == Choice("pve1", ("local-lvm",))
    assert code(one(chosen, [node("pve1", 512), node("pve2", 4096)])) == "storage_not_shared"
    second = Want(1, 1024, (WantedDisk(10), WantedDisk(10, "local-lvm")), bridges=frozenset({"vmbr0"}))
    assert one(second, [node("pve1", 2048), node("pve2", 4096)]) == Choice("pve2", ("nfs", "local-lvm"))


def test_a_survey_tells_of_every_node_what_it_is_to_the_batch() -> None:
    nodes = [node("pve1", 8192), node("pve2", 4096), node("pve3", online=False)]
    found = survey([want(3000), want(3000), want(3000)], nodes, SHARED)
    assert [(v.node, v.chosen, v.why and v.why.code) for v in found.nodes] == [("pve1", 2, None), ("pve2", 1, None), ("pve3", 0, "node_offline")]
    assert found.unplaced == []


def test_a_survey_counts_the_servers_that_fit_nowhere() -> None:
    found = survey([want(3000), want(9000), want(9000)], [node("pve1", 8192)], SHARED)
    assert found.nodes[0].chosen == 1 and [m.code for m in found.unplaced] == ["node_memory_full"] * 2


def test_a_node_that_fits_one_kind_of_a_batch_is_not_told_to_fit_none() -> None:
    found = survey([want(7000), want(1000)], [node("pve1", 9000), node("pve2", 1500)], SHARED)
    assert [(v.node, v.chosen, v.why) for v in found.nodes] == [("pve1", 2, None), ("pve2", 0, None)]


def test_nodes_beside_a_chosen_one_are_judged_too() -> None:
    found = survey([want(5000, node="pve2")], [node("pve1", 8192), node("pve2", 4096)], SHARED)
    assert [(v.node, v.why and v.why.code) for v in found.nodes] == [("pve1", None), ("pve2", "node_memory_full")] and len(found.unplaced) == 1


def test_without_the_templates_node_there_is_no_survey() -> None:
    found = survey([want()], [node("pve1", online=False), node("pve2")], SHARED)
    assert found.nodes == [] and found.unplaced[0].code == "template_node_offline"
