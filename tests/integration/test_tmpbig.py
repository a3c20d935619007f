import time, json, subprocess, sys, os
from app.services import cluster_connection, inventory
from app.services.uow import unit_of_work
from app.models import Guest
def test_big(app):
    c = json.load(open('/tmp/px/big/connection.json'))
    with unit_of_work() as uow:
        cl = cluster_connection.connect_embedded(uow, c['url'], c['token_id'], c['token_secret'], open(c['ca']).read())
    for i in range(5):
        b=time.monotonic(); cpu=time.process_time(); inventory.poll(cl.id, due_s=0); print("POLL", i, round(time.monotonic()-b,2), "cpu", round(time.process_time()-cpu,2))
    with unit_of_work() as uow: print(uow.session.query(Guest).count(), uow.session.query(Guest).filter(Guest.config_read_at.isnot(None)).count())
