import cProfile, pstats, contextvars, time
def test_prof(app, make_user, client_for):
    c=client_for(make_user("viewer"))
    def one():
        r=c.get("/api/stream", buffered=False); r.close()
    for _ in range(5): one()
    t=time.process_time()
    for _ in range(100): one()
    print("LINE per connect ms", (time.process_time()-t)*10)
    t=time.process_time()
    for _ in range(100): c.get("/api/nothing")
    print("LINE per 404 ms", (time.process_time()-t)*10)
    t=time.process_time()
    for _ in range(100): c.get("/api/tokens")
    print("LINE per tokens ms", (time.process_time()-t)*10)
    p=cProfile.Profile(); p.enable()
    for _ in range(100): one()
    p.disable()
    pstats.Stats(p).sort_stats("cumtime").print_stats(45)
