"""Entry of the web server: `gunicorn -k gevent app.wsgi:app`."""

from gevent import monkey

if monkey.is_module_patched("socket"):
    # psycopg2 waits in C: without this one slow query stops every client of the process.
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()

from app import create_app
from app.config import get_settings
from app.log import configure

configure()
app = create_app(get_settings())
