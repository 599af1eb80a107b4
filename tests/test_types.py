"""`jchannel.types`."""

import jchannel
import jchannel.errors
import jchannel.types


def test_the_errors_are_the_same_everywhere() -> None:
    for name in jchannel.errors.__all__:
        assert getattr(jchannel.types, name) is getattr(jchannel, name) is getattr(jchannel.errors, name)
        assert name in jchannel.__all__
    assert sorted(jchannel.types.__all__) == sorted([*jchannel.errors.__all__, "MetaGenerator"])


def test_a_stream_has_its_type_there() -> None:
    assert jchannel.types.MetaGenerator is jchannel.MetaGenerator
