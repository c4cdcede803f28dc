"""Has every Python of a development container run as the owner of the clone.

docker-compose.override.yml starts the containers as root, and puts this folder on the path: Python
imports a module of this name before its own work. What is then written into the clone, as a
revision is, belongs to the clone's owner.
"""

import os
from pathlib import Path

try:
    owner = Path(os.environ["RUN_AS_OWNER_OF"]).stat()
    if os.getuid() != owner.st_uid:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
except (KeyError, OSError) as error:  # Python would report it, and go on as root
    raise SystemExit(f"sitecustomize: cannot become the owner of the clone: {error!r}.") from None
