//! The client of Redis that programs in Rust use, unmodified.

use super::Running;
use redis::{Commands as _, ErrorKind, ExistenceCheck, ServerErrorKind, SetOptions};
use std::collections::BTreeSet;

#[test]
fn the_rust_client_works_unmodified() -> redis::RedisResult<()> {
    let running = Running::start("multipaxos", |_| {});
    for protocol in ["resp2", "resp3"] {
        let client = redis::Client::open(format!("redis://{}/?protocol={protocol}", running.address))?;
        let mut connection = client.get_connection()?;
        let _: () = redis::cmd("PING").exec(&mut connection)?;

        connection.set::<_, _, ()>("colour", "blue")?;
        assert_eq!(connection.get::<_, Option<String>>("colour")?.as_deref(), Some("blue"));
        assert_eq!(connection.get::<_, Option<String>>("none")?, None);
        let absent = SetOptions::default().conditional_set(ExistenceCheck::NX);
        assert_eq!(connection.set_options::<_, _, Option<String>>("colour", "red", absent)?, None);
        assert_eq!(connection.append::<_, _, usize>("colour", "s")?, 5);
        assert_eq!(connection.strlen::<_, usize>("colour")?, 5);

        connection.mset::<_, _, ()>(&[("a", 1), ("b", 2)])?;
        assert_eq!(connection.mget::<_, Vec<Option<i64>>>(&["a", "none", "b"])?, [Some(1), None, Some(2)]);
        assert_eq!(connection.incr::<_, _, i64>("a", 41)?, 42);
        let keys: BTreeSet<String> = connection.scan::<String>()?.collect::<Result<_, _>>()?;
        assert_eq!(keys, ["a", "b", "colour"].map(String::from).into());

        let mut pipeline = redis::pipe();
        pipeline.atomic().incr("a", 1).ignore().get("a").del("b");
        assert_eq!(pipeline.query::<(i64, i64)>(&mut connection)?, (43, 1));
        let many: Vec<i64> =
            (0..500).fold(&mut redis::pipe(), |pipe, _| pipe.incr("n", 1)).query(&mut connection)?;
        assert_eq!(many, (1..=500).collect::<Vec<_>>());

        let wrong = connection.incr::<_, _, i64>("colour", 1).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Server(ServerErrorKind::ResponseError), "{wrong}");
        assert_eq!(connection.del::<_, i64>(&["a", "colour", "n"])?, 3);
    }
    Ok(())
}
