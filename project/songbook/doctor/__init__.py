"""The doctor: checks of the settings, the database and the disk, each with what to do."""

from songbook.doctor.diagnosis import diagnose as diagnose
from songbook.doctor.findings import FAILURE as FAILURE
from songbook.doctor.findings import OK as OK
from songbook.doctor.findings import WARNING as WARNING
from songbook.doctor.findings import Finding as Finding
from songbook.doctor.findings import Subject as Subject
