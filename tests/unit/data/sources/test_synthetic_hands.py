"""Drawn hands: other labels are other hands."""

from __future__ import annotations

from tledge.data.sources import synthetic
from tledge.data.sources.synthetic_hands import Look, Placement, Pose, draw_hand


def test_labels_draw_different_hands() -> None:
    # The same index differs by its label alone: a hand without label would be the same.
    look = Look(skin=(218, 164, 126), sleeve=None, cuff=0.0, outline=0.03)
    place = Placement(x=0.5, y=0.5, scale=0.4, angle=0.0, squash=1.0, light=-1.5)
    shapes = {
        draw_hand(Pose(label, 12.0, 0.2, 0.5, (0, 0, 0, 0), palm_side, False), look, place, 32)
        .getchannel("A")
        .tobytes()
        for label in synthetic.LABELS
        for palm_side in (True, False)
    }
    assert len(shapes) >= 5  # paper has the same silhouette from both sides
