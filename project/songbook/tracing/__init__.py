"""Traces (OpenTelemetry): spans of statements, and the ids for the log."""

from songbook.tracing.ids import parse_traceparent as parse_traceparent
from songbook.tracing.ids import trace_ids as trace_ids
from songbook.tracing.statements import StatementTracer as StatementTracer
from songbook.tracing.statements import fail as fail
from songbook.tracing.statements import is_traced as is_traced
