"""What a process counts."""

from songbook.metrics.instruments import Counter as Counter
from songbook.metrics.instruments import Histogram as Histogram
