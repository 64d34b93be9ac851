use super::*;

fn extent(name: &str, inode: u64, first: u64, next: u64) -> Extent {
    let origin = Origin { name: name.into(), inode, hashed: 0, hash: String::new() };
    Extent::new(Arc::new(origin), first, next)
}

fn cursors(position: &Position) -> Vec<(&str, u64, u64)> {
    position.cursors.iter().map(|cursor| (&*cursor.origin.name, cursor.origin.inode, cursor.next)).collect()
}

#[test]
fn a_cursor_follows_its_origin() {
    let mut position = Position::default();
    position.advance(&extent("a", 1, 0, 10));
    position.advance(&extent("b", 2, 0, 5));
    position.advance(&extent("a", 1, 10, 30));
    assert_eq!(cursors(&position), [("b", 2, 5), ("a", 1, 30)]);
}

#[test]
fn a_new_origin_of_a_name_takes_the_older_ones_place() {
    let mut position = Position::default();
    position.advance(&extent("a", 1, 0, 10));
    position.advance(&extent("a", 2, 0, 4));
    assert_eq!(cursors(&position), [("a", 2, 4)]);
    position.advance(&extent("a", 2, 0, 3));
    assert_eq!(cursors(&position), [("a", 2, 3)], "truncated and read again");
}

#[test]
fn a_renamed_origin_takes_its_cursor_with_it() {
    let mut position = Position::default();
    position.advance(&extent("log", 1, 0, 10));
    // A file of another file system, with the same inode number and as long.
    position.advance(&extent("/other/log", 1, 0, 10));
    position.advance(&Extent { ends: Some("log".into()), ..extent("log.1", 1, 10, 10) });
    position.advance(&extent("log", 2, 0, 4));
    assert_eq!(cursors(&position), [("/other/log", 1, 10), ("log.1", 1, 10), ("log", 2, 4)]);
    // Two that changed their names with each other.
    position.advance(&Extent { ends: Some("log".into()), ..extent("log.1", 2, 4, 4) });
    position.advance(&Extent { ends: Some("log.1".into()), ..extent("log", 1, 10, 10) });
    assert_eq!(cursors(&position), [("/other/log", 1, 10), ("log.1", 2, 4), ("log", 1, 10)]);
}

#[test]
fn another_file_with_a_reused_inode_leaves_the_cursor_alone() {
    let mut position = Position::default();
    position.advance(&extent("gone", 1, 0, 10));
    position.advance(&extent("new", 1, 0, 7));
    assert_eq!(cursors(&position), [("gone", 1, 10), ("new", 1, 7)]);
}

#[test]
fn cursors_of_files_that_exist_are_kept_and_the_oldest_of_the_others_go() {
    let there = tempfile::NamedTempFile::new().unwrap();
    let there = there.path().to_str().unwrap();
    let mut position = Position::default();
    position.advance(&extent(there, 1, 0, 10));
    for i in 0..2 * MAX_CURSORS as u64 {
        position.advance(&extent(&format!("/no/f{i}"), i + 2, 0, 1));
        assert!(position.cursors.len() <= MAX_CURSORS);
    }
    assert_eq!(&*position.cursors[0].origin.name, there);
    let newest = &position.cursors.last().unwrap().origin.name;
    assert_eq!(**newest, format!("/no/f{}", 2 * MAX_CURSORS - 1));
    assert!(position.cursors.len() > MAX_CURSORS - 2 * DROPPED);
}

#[test]
fn a_position_survives_json() {
    let mut position = Position::default();
    position.advance(&extent("a", 1, 0, u64::MAX));
    let json = serde_json::to_string(&position).unwrap();
    assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
}

#[test]
fn a_chunk_in_pieces_is_the_chunk() {
    let origin = Arc::new(Origin { name: "x".into(), inode: 0, hashed: 0, hash: String::new() });
    let data = Bytes::from_static(b"one\ntwo\nthree, which is long\n\nfour");
    for limit in 1..40 {
        let extent = Extent::new(origin.clone(), 100, 100 + data.len() as u64);
        let pieces: Vec<_> = Chunk { data: data.clone(), extent, framing: Framing::Lines }.pieces(limit).collect();
        let (mut joined, mut next) = (Vec::new(), 100);
        for piece in &pieces {
            assert_eq!((piece.extent.first, piece.extent.next), (next, next + piece.data.len() as u64));
            assert!(piece.data.len() as u64 <= limit || piece.data.iter().filter(|byte| **byte == b'\n').count() <= 1);
            joined.extend_from_slice(&piece.data);
            next = piece.extent.next;
        }
        assert_eq!(joined, data, "limit {limit}");
        assert!(pieces[..pieces.len() - 1].iter().all(|piece| piece.data.ends_with(b"\n")));
    }
}

#[test]
fn ids_go_with_their_cursor_and_an_origin_that_ends_leaves_none() {
    let id = |n: u8| MessageId::of(&[&[n]]);
    let mut position = Position::default();
    position.advance(&Extent { ids: [id(1), id(2)].into(), ..extent("messages:s/0", 0, 0, 2) });
    position.advance(&Extent { ids: [id(3)].into(), ..extent("messages:s/0", 0, 2, 3) });
    position.advance(&extent("object:https://x/a", 0, 0, 100));
    let ids = |position: &Position| position.cursor("messages:s/0").unwrap().ids.iter().collect::<Vec<_>>();
    assert_eq!(ids(&position), [id(1), id(2), id(3)]);
    let text = serde_json::to_string(&position).unwrap();
    assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), position);
    position.advance(&Extent { ends: Some("object:https://x/a".into()), ..extent("objects:s/0", 0, 0, 1) });
    let names: Vec<_> = position.cursors.iter().map(|cursor| &*cursor.origin.name).collect();
    assert_eq!(names, ["messages:s/0", "objects:s/0"]);
    // As positions were written before there were IDs.
    let before = r#"{"cursors":[{"origin":{"name":"/a","inode":1,"hashed":0,"hash":""},"next":5}]}"#;
    let before: Position = serde_json::from_str(before).unwrap();
    assert!(before.cursors[0].ids.is_empty());
    assert!(!serde_json::to_string(&before).unwrap().contains("ids"));
}
