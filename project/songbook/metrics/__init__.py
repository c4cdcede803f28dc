"""What the processes of a service count and measure."""

from songbook.metrics.exposition import expose as expose
from songbook.metrics.exposition import registry_of as registry_of
from songbook.metrics.exposition import serve_metrics as serve_metrics
from songbook.metrics.instruments import REFUSALS as REFUSALS
from songbook.metrics.instruments import Counter as Counter
from songbook.metrics.instruments import Gauge as Gauge
from songbook.metrics.instruments import Histogram as Histogram
from songbook.metrics.process import read_process as read_process
from songbook.metrics.processes import SharedFile as SharedFile
from songbook.metrics.processes import Snapshot as Snapshot
from songbook.metrics.processes import read_snapshots as read_snapshots
from songbook.metrics.processes import snapshot as snapshot
