"""FINUFFT on the work of benches/nufft.rs: one JSON line for each figure, in seconds. One thread."""
import json
import time

import finufft
import numpy as np

PLACES, SIZE = 10**6, 1024
random = np.random.default_rng(0)
x, y = (2 * np.pi * random.uniform(-0.5, 0.5, (2, PLACES))).astype(np.float32)
image = (random.standard_normal((SIZE, SIZE)) + 1j * random.standard_normal((SIZE, SIZE))).astype(np.complex64)
data = (random.standard_normal(PLACES) + 1j * random.standard_normal(PLACES)).astype(np.complex64)


def times(run, rounds=9):
    run()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return sorted(taken)


for accuracy in (1e-3, 1e-6):
    common = dict(eps=accuracy, nthreads=1)
    for kind in (2, 1):
        plan = finufft.Plan(kind, (SIZE, SIZE), isign=-1 if kind == 2 else 1, dtype="complex64", **common)
        plan.setpts(x, y)
        planned = times(lambda: plan.execute(image if kind == 2 else data))
        if kind == 2:
            simple = times(lambda: finufft.nufft2d2(x, y, image, isign=-1, **common))
        else:
            simple = times(lambda: finufft.nufft2d1(x, y, data, (SIZE, SIZE), isign=1, **common))
        exponent = f"{accuracy:.0e}".replace("e-0", "e-")
        for how, taken in (("planned", planned), ("simple call", simple)):
            print(json.dumps(dict(peer="FINUFFT", case="nufft", what=f"type {kind} at {exponent}", how=how,
                                  median=taken[len(taken) // 2], least=taken[0])), flush=True)
