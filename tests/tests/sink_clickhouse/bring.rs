//! Plans that were begun before, and attempts that failed: what is there is not sent again, and what
//! is not there is noticed.

use super::*;
use sink::bring::{Before, bring};
use sink::plan::{OffsetRange, Plan};

/// Of so many partitions, each from offset 0 on.
fn plan(partitions: u32, records: u64) -> Plan {
    let range = OffsetRange { from: 0, end: records };
    let id = uuid::Uuid::now_v7().simple().to_string();
    Plan { id, ranges: (0..partitions).map(|it| ((Topic::Clicks, it), range)).collect() }
}

fn placed(number: u64, offer: &str) -> Placed<schemas::Click> {
    let place = Place { source: (Topic::Clicks, 0), offset: number };
    Placed { place, message: click(number, offer) }
}

/// A plan of which only one of two partitions is left to a sink, after its rows were inserted: what is
/// there is found, and what is not is brought.
pub async fn a_part_of_a_plan_repeats_nothing(server: &Server) -> Result<()> {
    const RECORDS: u64 = 300;
    let config = server.database("parts");
    migrate(&config).await?;
    let client = insert_client(&config);
    execute(&client, "SYSTEM STOP MERGES clicks").await?;
    let log: Arc<dyn EventLog> = SimulatedLog::new(2, 7) as _;
    let mut rows = Vec::new();
    for partition in 0..2 {
        let numbers = u64::from(partition) * RECORDS..u64::from(partition + 1) * RECORDS;
        let clicks: Vec<_> = numbers.map(|n| click(n, "pet-the-dogs")).collect();
        let records: Vec<_> = clicks.iter().map(codec::encode).collect();
        append(&log, Topic::Clicks, partition, &records).await?;
        rows.extend(clicks.into_iter().zip(0..).map(|(message, offset)| Placed {
            place: Place { source: (Topic::Clicks, partition), offset },
            message,
        }));
    }
    let plan = plan(2, RECORDS);
    let mut member = log.join(sink::GROUP, &sink::decode::TOPICS).await?;
    while member.next_event(Duration::from_secs(1)).await?.is_none() {}
    member.commit(vec![plan.written_down()[0].clone(), plan.done()[1].clone()]).await?;
    drop(member);
    // All but the last row of the first partition.
    rows.remove(RECORDS as usize - 1);
    let tables = Tables::new(client.clone());
    ensure!(sink::insert::insert(&tables, &plan.token("clicks"), &rows).await.refused.is_empty());

    let sink = Sink::start(&config, &log);
    let all = (2 * RECORDS).to_string();
    eventually(&client, "SELECT uniqExact(click_id) FROM clicks", &all).await?;
    sink.stop().await?;
    check(&client, "SELECT count() FROM clicks", &all).await
}

/// An attempt fails, the next one succeeds, and ClickHouse had the token and not the rows: it may
/// have been killed between the two by the first one. Here the token came with another row.
pub async fn a_token_without_its_rows_is_noticed(server: &Server) -> Result<()> {
    const RECORDS: u64 = 10;
    let config = server.database("tokens");
    migrate(&config).await?;
    let client = insert_client(&config);
    let tables = Tables::new(client.clone());
    let plan = plan(1, RECORDS);
    let other = [placed(RECORDS, "pet-the-dogs")];
    let inserted = sink::insert::insert(&tables, &plan.token("clicks"), &other).await;
    ensure!(inserted.refused.is_empty() && inserted.at_once, "{inserted:?}");
    execute(&client, "RENAME TABLE clicks TO elsewhere").await?;
    let rows: Vec<_> = (0..RECORDS).map(|n| placed(n, "pet-the-dogs")).collect();
    let work = async { Ok(bring(&tables, &plan, Before::Nothing, &rows).await) };
    let mend = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        execute(&client, "RENAME TABLE elsewhere TO clicks").await
    };
    let (refused, ()) = tokio::try_join!(work, mend)?;
    ensure!(refused.is_empty(), "{refused:?}");
    check(&client, "SELECT count() FROM clicks", &(RECORDS + 1).to_string()).await
}

/// A row that is refused for a reason that nobody knows, in a plan that is carried out again: all its
/// neighbours are there already.
pub async fn a_refused_row_is_found_beside_those_that_are_there(server: &Server) -> Result<()> {
    let config = server.database("beside");
    migrate(&config).await?;
    let client = insert_client(&config);
    execute(&client, "SYSTEM STOP MERGES clicks").await?;
    execute(&client, NOTHING_ODD).await?;
    let tables = Tables::new(client.clone());
    let plan = plan(1, 4);
    let rows: Vec<_> = (0..4).map(|n| placed(n, if n == 2 { "odd" } else { "good" })).collect();
    for before in [Before::Nothing, Before::Anything, Before::AnythingOnCluster] {
        let refused = bring(&tables, &plan, before, &rows).await;
        let offsets: Vec<u64> = refused.iter().map(|it| it.place.offset).collect();
        ensure!(offsets == [2], "{before:?}: {refused:?}");
        check(&client, "SELECT count() FROM clicks", "3").await?;
    }
    Ok(())
}
