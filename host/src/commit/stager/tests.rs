//! What a span holds in memory while it is staged.

use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;
use crate::commit::files::FileTable;

const FILES: usize = STAGED_REMOTE;
const ROUNDS: usize = 16;
/// What a file gets in one round.
const PIECE: usize = 64 << 10;
/// A sixteenth of what the files have in all; none of them is as large as a part.
const MOST: u64 = 2 << 20;

fn stager(lake: &Lake) -> Stager {
    let (_, published) = watch::channel(Published { number: 0, series: Arc::default() });
    let terms = Terms { mode: Files::Rolling, format: "".into(), folder: "_lakeport/e/0/stage/1".into() };
    Stager::new(lake.clone(), terms, published, 1)
}

#[tokio::test]
async fn many_open_files_hold_no_more_than_their_lakes_budget_together() {
    let lake = Lake::with_store(Arc::new(InMemory::new()), "open-files", "_lakeport").with_most_open(MOST);
    let (mut stager, table, mut ledger) = (stager(&lake), FileTable::new("e", "0"), Ledger::default());
    let files: Vec<_> = (0..FILES).map(|number| table.file(&format!("e/{number}/{{part}}.bin"), 0)).collect();
    let piece = |file: usize, round: usize| Bytes::from(vec![u8::try_from(file ^ round).unwrap(); PIECE]);
    for round in 0..ROUNDS {
        for (number, file) in files.iter().enumerate() {
            ledger.add(file, 1, PIECE);
            stager.take(Piece::Rows(file.clone(), piece(number, round)));
        }
        stager.relieve().await.unwrap();
        assert!(lake.excess().is_none(), "round {round}");
    }
    let bound = MOST + PIECE as u64;
    assert!(lake.most_open() <= bound, "{} bytes were open at once", lake.most_open());
    let aside = lake.list("_lakeport").await.unwrap().len();
    assert!(aside > FILES, "only {aside} objects stand beside those that are open");

    let staged = stager.finish(ledger, (0, 0), Vec::new()).await.unwrap();
    assert!(lake.most_open() <= bound, "{} bytes were open at once", lake.most_open());
    assert_eq!(staged.objects.len(), FILES);
    for (number, object) in staged.objects.iter().enumerate() {
        let whole: Vec<u8> = (0..ROUNDS).flat_map(|round| piece(number, round)).collect();
        let Content::Staged(key) = &object.content else { panic!("{object:?}") };
        assert!(lake.get(key).await.unwrap().unwrap().bytes == whole, "file {number}");
        assert_eq!(object.sha256, Staged::of(&whole).sha256);
    }
    assert_eq!(lake.list("_lakeport").await.unwrap().len(), FILES, "nothing is left beside");
}

#[tokio::test]
async fn an_object_of_many_parts_is_whole_whenever_some_of_it_was_put_aside() {
    let lake = Lake::with_store(Arc::new(InMemory::new()), "aside", "_lakeport");
    let bytes: Vec<u8> = (0..20_usize << 20).map(|at| u8::try_from(at % 251).unwrap()).collect();
    for often in [1, 3, 7] {
        let mut staging = lake.stage("_lakeport/s/1").await.unwrap();
        for (number, chunk) in bytes.chunks(1_300_000).enumerate() {
            staging.write(Bytes::copy_from_slice(chunk)).await.unwrap();
            if number % often == 0 {
                staging.put_aside().await.unwrap();
                assert_eq!(staging.in_memory(), 0);
            }
        }
        assert_eq!(staging.finish().await.unwrap(), Staged::of(&bytes));
        assert!(lake.get("_lakeport/s/1").await.unwrap().unwrap().bytes == bytes);
        assert_eq!(lake.list("").await.unwrap().len(), 1, "nothing is left beside");
    }
    let mut given_up = lake.stage("_lakeport/s/2").await.unwrap();
    given_up.write(Bytes::from_static(b"some")).await.unwrap();
    given_up.put_aside().await.unwrap();
    given_up.abort().await.unwrap();
    assert_eq!(lake.list("").await.unwrap().len(), 1, "nothing is left of what was given up");
}

#[tokio::test]
async fn few_files_are_staged_while_a_span_is_encoded_and_all_when_it_ends() {
    const FILES: usize = 2_000;
    let lake = Lake::with_store(Arc::new(object_store::memory::InMemory::new()), "stager", "_lakeport");
    let terms = Terms { mode: Files::Rolling, format: "f".into(), folder: "stage".into() };
    let (_sender, published) = watch::channel(Published { number: 0, series: Arc::default() });
    let mut stager = Stager::new(lake.clone(), terms, published, 1);
    let (table, mut ledger) = (FileTable::new("e", "p"), Ledger::default());
    let files: Vec<_> = (0..FILES).map(|number| table.file(&format!("{number}/{{part}}"), 0)).collect();
    let rows = Bytes::from(vec![b'x'; 3 * WAITING / FILES]);
    let mut relieved = 0;
    for round in 0..3 {
        for file in &files {
            ledger.add(file, 1, rows.len());
            stager.take(Piece::Rows(file.clone(), rows.clone()));
            if stager.waiting > stager.relieved_at {
                stager.relieve().await.unwrap();
                relieved += 1;
                let staged = stager.open.values().filter(|open| open.staging.is_some()).count();
                assert!(staged <= STAGED_REMOTE, "{staged} in round {round}");
            }
        }
    }
    assert!(relieved > 1 && relieved < 100, "{relieved} times");
    let objects = stager.finish(ledger, (0, 0), Vec::new()).await.unwrap();
    assert_eq!((objects.objects.len(), objects.rows), (FILES, 3 * FILES as u64));
    for object in objects.objects {
        let Content::Staged(staged) = object.content else { panic!("files are staged") };
        assert_eq!(lake.get(&staged).await.unwrap().unwrap().bytes.len(), 3 * rows.len());
    }
}

#[tokio::test]
async fn a_stager_that_waits_for_a_lake_has_ended_once_it_is_abandoned() {
    let held = Arc::new(());
    let (holds, (begun, has_begun)) = (held.clone(), tokio::sync::oneshot::channel());
    let stuck = tokio::spawn(async move {
        let _holds = holds;
        begun.send(()).unwrap();
        std::future::pending().await
    });
    has_begun.await.unwrap();
    assert_eq!(Arc::strong_count(&held), 2);
    let from = Instant::now();
    abandon(stuck).await;
    assert_eq!((Arc::strong_count(&held), from.elapsed().as_secs()), (1, GIVING_UP.as_secs()));
}
