"""Which inputs an output sees, and which outputs an input can change: exact, for any network.

Kernel, stride, dilation and padding say it for one operation along one axis (:mod:`.axes`);
:func:`trace` puts the operations of a network together.
"""

from convscope.geometry.axes import Span
from convscope.geometry.fields import Field
from convscope.geometry.graph import NetGraph, Node
from convscope.geometry.rules import teach
from convscope.geometry.tracing import trace

__all__ = ["Field", "NetGraph", "Node", "Span", "teach", "trace"]
