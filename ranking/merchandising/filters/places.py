"""Circles on the globe as ranges of degrees, which an index can look up; the exact distance decides
among what they let through."""

from __future__ import annotations

import math
from dataclasses import dataclass

EARTH_RADIUS_KM = 6371.0088  # its mean radius
MILE_KM = 1.609344
_DECIMALS = 12  # of degrees: a tenth of a micrometre
_SLACK = 1e-5  # degrees: a metre, more than any rounding


@dataclass(frozen=True, slots=True)
class Box:
    """Degrees north and, in one range or two, east, bounds included."""

    south: float
    north: float
    easts: tuple[tuple[float, float], ...]


def degrees(value: float) -> float:
    """A coordinate as it is measured with: Postgres takes the square of a tiny difference for an
    error, so there are none."""
    return round(value, _DECIMALS)


def box(lat: float, lon: float, km: float) -> Box:
    """A box that holds every place so near to that one. Over a pole it holds all meridians; over
    the 180th it is in two parts."""
    angle = km / EARTH_RADIUS_KM
    south, north = lat - math.degrees(angle) - _SLACK, lat + math.degrees(angle) + _SLACK
    if south <= -90 or north >= 90:
        return Box(max(-90.0, south), min(90.0, north), ((-180.0, 180.0),))
    # The meridians that touch the circle do so nearer to the pole than its centre lies.
    sine = math.sin(angle) / math.cos(math.radians(lat))
    width = math.degrees(math.asin(min(1.0, sine))) + _SLACK
    west, east = lon - width, lon + width
    if width >= 180:
        return Box(south, north, ((-180.0, 180.0),))
    if west < -180:
        return Box(south, north, ((west + 360, 180.0), (-180.0, east)))
    if east > 180:
        return Box(south, north, ((west, 180.0), (-180.0, east - 360)))
    return Box(south, north, ((west, east),))
