//! Truncations: what is older goes.

use std::collections::BTreeSet;

use super::rows::{apply_rows, at, row};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_newer_goes_and_everything_else_stays() {
    let mut table = Table::in_memory();
    for (key, version, partition) in
        [("a", Some(100), 2020), ("b", Some(200), 2021), ("c", Some(201), 2022), ("d", None, 2023)]
    {
        let changes = vec![row(key, Operation::Create, version, "{}", Some(partition))];
        apply_rows(&mut table, changes, Emit::Nothing, at(10)).await;
    }
    let gone = [("e", 150), ("f", 300)].map(|(key, version)| row(key, Operation::Delete, Some(version), "", None));
    apply_rows(&mut table, gone.into(), Emit::Nothing, at(10)).await;

    let truncated = truncate(&table.lake, &table.cache, &table.state, 200, "stage/truncated").await.unwrap();
    assert_eq!(truncated.touched, BTreeSet::from([2020, 2021, 2023]));
    assert_eq!((truncated.gone, truncated.state.keys, truncated.state.runs.len()), (3, 1, 1));
    assert_eq!(truncated.obsolete.len(), table.state.runs.len());
    assert_eq!(truncated.state.runs[0].entries, 2, "`c`, and that `f` was deleted");
    table.state = truncated.state;
    let late = ["c", "f"].map(|key| row(key, Operation::Create, Some(200), r#"{"late":1}"#, None));
    let (applied, _) = apply_rows(&mut table, late.into(), Emit::Nothing, at(20)).await;
    assert_eq!(applied.ignored, 2);

    let truncated = truncate(&table.lake, &table.cache, &table.state, 300, "stage/empty").await.unwrap();
    assert_eq!((truncated.state.keys, truncated.state.runs, truncated.written), (0, vec![], None));
}
