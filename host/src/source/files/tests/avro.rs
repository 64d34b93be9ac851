//! Avro container files, which begin alike up to the end of their headers.

use super::*;

impl World {
    /// The names of the container files that a run reads, and how many bytes of each.
    fn run_avro(&mut self) -> Vec<(String, u64)> {
        let mut reader = Files::new(self.input(""), Envelope::Avro, &self.position, options(false));
        let mut read = Vec::new();
        while let Read::Chunk(chunk) = reader.read(Duration::ZERO).unwrap() {
            self.position.advance(&chunk.extent);
            if !chunk.data.is_empty() {
                let name = Path::new(&*chunk.extent.origin.name).file_name().unwrap().to_str().unwrap();
                read.push((name.to_owned(), chunk.data.len() as u64));
            }
        }
        self.warnings.extend(reader.warnings());
        read
    }
}

/// A container file whose header is longer than [`HEAD`], with a random marker as its writers make one, and a block a number.
fn container(numbers: &[i32]) -> Vec<u8> {
    let doc = "x".repeat(2 * HEAD);
    let schema = format!(r#"{{"type":"record","name":"r","fields":[{{"name":"{doc}","type":"int"}}]}}"#);
    let schema = apache_avro::Schema::parse_str(&schema).unwrap();
    let mut writer = apache_avro::Writer::new(&schema, Vec::new()).unwrap();
    for number in numbers {
        let record = vec![(doc.clone(), apache_avro::types::Value::Int(*number))];
        writer.append_value(apache_avro::types::Value::Record(record)).unwrap();
        writer.flush().unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn a_container_file_that_is_replaced_by_one_of_the_same_schema_is_read_from_its_start() {
    let (monday, tuesday) = (container(&[1, 2]), container(&[3, 4, 5]));
    assert_eq!(monday[..2 * HEAD], tuesday[..2 * HEAD]);
    let mut world = World::new(&[("export.avro", &monday)]);
    assert_eq!(world.run_avro(), [("export.avro".to_owned(), monday.len() as u64)]);
    assert!(world.run_avro().is_empty());
    world.write("export.avro", &tuesday);
    assert_eq!(world.run_avro(), [("export.avro".to_owned(), tuesday.len() as u64)]);
    let warning = &world.warnings[0];
    assert!(warning.contains("it was truncated or replaced, and is read from its start"), "{warning}");
}

#[test]
fn a_container_file_with_the_inode_of_one_that_is_gone_is_not_that_one_renamed() {
    let (first, second) = (container(&[1, 2]), container(&[3, 4, 5]));
    let mut world = World::new(&[("a.avro", &first)]);
    world.run_avro();
    // What a file system does that gives the inode of a deleted file to the next new one.
    world.rename("a.avro", "b.avro");
    world.write("b.avro", &second);
    assert_eq!(world.run_avro(), [("b.avro".to_owned(), second.len() as u64)]);
    world.rename("b.avro", "c.avro");
    assert!(world.run_avro().is_empty(), "that one is renamed");
}

#[test]
fn a_container_file_whose_header_is_being_written_is_the_same_when_it_is_whole() {
    let file = container(&[1, 2, 3]);
    let header = crate::source::avro::Header::parse(&file).unwrap().unwrap().len;
    let block = (file.len() - header) / 3;
    let mut world = World::new(&[]);
    let mut reader = Files::new(world.input(""), Envelope::Avro, &Position::default(), options(true));
    let mut end = 0;
    for next in [5, HEAD, HEAD + 100, header - 1, header + block, file.len()] {
        world.append("a.avro", &file[end..next]);
        end = next;
        while let Read::Chunk(chunk) = reader.read(Duration::from_millis(450)).unwrap() {
            world.position.advance(&chunk.extent);
        }
    }
    assert_eq!(world.position.cursors[0].next, file.len() as u64);
    assert!(world.position.cursors[0].origin.hashed as usize >= header);
    assert!(world.run_avro().is_empty());
    assert_eq!((reader.warnings(), &world.warnings), (vec![], &vec![]));
}
