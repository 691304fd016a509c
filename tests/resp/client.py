"""The common Python client against the gateway at the port that is named."""

import sys

try:
    import redis
except ImportError:
    print("skipped: there is no redis for Python here (Debian: python3-redis)")
    sys.exit(0)

client = redis.Redis(host="127.0.0.1", port=int(sys.argv[1]), decode_responses=True, client_name="test")
assert client.ping()
assert client.set("a", "1") and client.get("a") == "1"
assert client.set("a", "2", nx=True) is None and client.set("b", "2", xx=True) is None
assert client.incrby("a", 41) == 42 and client.append("a", "!") == 3
try:
    client.incr("a")
    raise AssertionError("it is no number")
except redis.ResponseError as error:
    assert str(error) == "value is not an integer or out of range", error
assert client.mset({"b": "2", "c": "3"}) and client.mget("a", "b", "none") == ["42!", "2", None]
assert sorted(client.scan_iter(match="[ab]", count=1)) == ["a", "b"] and client.dbsize() == 3
with client.pipeline(transaction=True) as pipe:
    assert pipe.incr("b").get("b").delete("c").exists("c").execute() == [3, "3", 1, 0]
with client.pipeline(transaction=False) as pipe:
    for number in range(1000):
        pipe.incr("n")
    assert pipe.execute() == list(range(1, 1001))
assert client.getdel("a") == "42!" and client.exists("a") == 0
assert client.execute_command("CAS", "b", "3", "4") == 1
