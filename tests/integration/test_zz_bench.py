import os, subprocess, sys, psutil, time
from app.config import get_settings
def cpu():
    out={}
    for p in psutil.Process().children(recursive=True):
        c=" ".join(p.cmdline())
        if "app.wsgi" in c: 
            t=p.cpu_times(); out[p.pid]=t.user+t.system
    return out
def test_bench(web, make_user, token_of):
    token=token_of(make_user("viewer"))
    pr=subprocess.Popen([sys.executable,"/tmp/acc_bench.py","1000"],env={**os.environ,"WEB":web,"TOKEN":token,"REDIS":get_settings().redis_url},stdout=subprocess.PIPE,text=True)
    print("LINE",pr.stdout.readline().strip()); b=cpu()
    print("LINE",pr.stdout.readline().strip()); c=cpu()
    print("LINE fan cpu",{k:round(c[k]-b[k],2) for k in b})
    pr.wait()
