"""Authentication and permissions."""

from songbook.auth.accounts import Account as Account
from songbook.auth.accounts import check_accounts as check_accounts
from songbook.auth.accounts import find_account as find_account
from songbook.auth.logins import Logins as Logins
from songbook.auth.logins import LoginsDep as LoginsDep
from songbook.auth.logins import get_logins as get_logins
from songbook.auth.passwords import Password as Password
from songbook.auth.passwords import hash_password as hash_password
from songbook.auth.permissions import NEEDS as NEEDS
from songbook.auth.permissions import OPEN as OPEN
from songbook.auth.permissions import OWNER as OWNER
from songbook.auth.permissions import PUBLIC as PUBLIC
from songbook.auth.permissions import SHARED as SHARED
from songbook.auth.permissions import SIGNED_IN as SIGNED_IN
from songbook.auth.permissions import SUPERUSER as SUPERUSER
from songbook.auth.permissions import CurrentUser as CurrentUser
from songbook.auth.permissions import OptionalUser as OptionalUser
from songbook.auth.permissions import current_user as current_user
from songbook.auth.permissions import optional_user as optional_user
from songbook.auth.permissions import permission as permission
from songbook.auth.routes import router as router
