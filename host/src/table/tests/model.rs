use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::table::shard::{encode_key, shard_of};

/// A table as a map.
#[derive(Default)]
struct Model {
    documents: BTreeMap<String, Value>,
    versions: BTreeMap<String, i64>,
    /// The keys of the last snapshot, and what changed since then.
    known: HashSet<String>,
    touched: BTreeSet<String>,
    ignored: u64,
}

impl Model {
    fn apply(&mut self, (subject, operation, version, body): &(String, Operation, Option<i64>, Value)) {
        if version.is_some() && self.versions.get(subject) > version.as_ref() {
            self.ignored += 1;
            return;
        }
        if let Some(version) = version {
            self.versions.insert(subject.clone(), *version);
        }
        let before = self.documents.get(subject).cloned();
        let after = match operation {
            Operation::Delete => None,
            Operation::Patch => Some(merge(before.clone().unwrap_or(Value::Null), body)),
            _ => Some(body.clone()),
        };
        if before != after {
            self.touched.insert(subject.clone());
        }
        match after {
            Some(after) => self.documents.insert(subject.clone(), after),
            None => self.documents.remove(subject),
        };
    }

    fn waiting(&self) -> impl Iterator<Item = &String> {
        self.touched.iter().filter(|key| self.documents.contains_key(*key) || self.known.contains(*key))
    }

    fn emit(&mut self, emit: Emit, marks: bool) -> BTreeMap<String, (Operation, Option<i64>, Option<Value>)> {
        let mut keys: BTreeSet<String> = match emit {
            Emit::Nothing => return BTreeMap::new(),
            _ => self.waiting().cloned().collect(),
        };
        if emit == Emit::Everything {
            keys.extend(self.documents.keys().cloned());
        }
        let emitted = keys.into_iter().filter_map(|key| {
            let document = self.documents.get(&key).cloned();
            let operation = match (&document, self.known.contains(&key)) {
                (None, _) if !marks => return None,
                (None, _) => Operation::Delete,
                (Some(_), true) => Operation::Update,
                (Some(_), false) => Operation::Create,
            };
            let version = self.versions.get(&key).copied();
            Some((key, (operation, version, document)))
        });
        let emitted = emitted.collect();
        self.known = self.documents.keys().cloned().collect();
        self.touched.clear();
        emitted
    }
}

/// <https://www.rfc-editor.org/rfc/rfc7396#section-2>
fn merge(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = match target {
        Value::Object(target) => target,
        _ => Map::new(),
    };
    for (name, value) in patch {
        match value {
            Value::Null => target.remove(name),
            value => {
                let before = target.remove(name).unwrap_or(Value::Null);
                target.insert(name.clone(), merge(before, value))
            }
        };
    }
    Value::Object(target)
}

/// Names of documents that share a few shards.
fn subjects() -> Vec<String> {
    let crowded = |name: &String| [0, 97, 255].contains(&shard_of(&encode_key(&key(name))));
    let spread = (0..10).map(|i| format!("spread-{i}"));
    (0..).map(|i| format!("device-{i}")).filter(crowded).take(20).chain(spread).collect()
}

fn value(depth: u32) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![Just(Value::Null), (0..3).prop_map(Value::from), "[a\"ä\\\\]{0,3}".prop_map(Value::from)];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![2 => leaf, 2 => object(depth - 1), 1 => prop::collection::vec(value(0), 0..2).prop_map(Value::from)]
        .boxed()
}

fn object(depth: u32) -> BoxedStrategy<Value> {
    let name = prop_oneof!["[ab]", Just("ä\n".to_string())];
    prop::collection::btree_map(name, value(depth), 0..3)
        .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into())
        .boxed()
}

type Round = (Vec<(String, Operation, Option<i64>, Value)>, Emit, bool, bool);

fn round() -> impl Strategy<Value = Round> {
    use Operation::{Create, Delete, Patch, Update};
    let operation = prop_oneof![1 => Just(Create), 3 => Just(Update), 4 => Just(Patch), 2 => Just(Delete)];
    let version = prop_oneof![2 => Just(None), 1 => (0..40i64).prop_map(Some)];
    let change = (prop::sample::select(subjects()), operation, version, object(2));
    let emit = prop_oneof![4 => Just(Emit::Nothing), 3 => Just(Emit::Waiting), 1 => Just(Emit::Everything)];
    (prop::collection::vec(change, 0..12), emit, any::<bool>(), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_table_is_what_a_map_would_be(rounds in prop::collection::vec(round(), 1..16), local in prop::bool::weighted(0.2)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let table = if local { Table::local(&folder).await } else { Table::in_memory() };
            compare(table, rounds).await;
        });
    }
}

async fn compare(mut table: Table, rounds: Vec<Round>) {
    let mut model = Model::default();
    let keys: Vec<_> = subjects().iter().map(|subject| key(subject)).collect();
    for (changes, emit, marks, forgets) in rounds {
        let applied = changes.iter().map(|(s, o, v, b)| change(s, *o, *v, &b.to_string())).collect::<Vec<_>>();
        if forgets {
            // An attempt whose commit never came.
            table.attempt(applied.clone(), emit, marks).await.unwrap();
            table.cache = Cache::new(3000);
        }
        let (_, documents) = table.apply(applied, emit, marks).await;
        changes.iter().for_each(|change| model.apply(change));
        let state = &table.state;
        assert_eq!((state.keys, state.ignored), (model.documents.len() as u64, model.ignored));
        if emit == Emit::Nothing {
            assert_eq!(state.waiting, model.waiting().count() as u64);
        }
        let expected = model.emit(emit, marks);
        let count = documents.len();
        let documents = documents.into_iter().map(|document| {
            let body = document.body.map(|body| serde_json::from_slice::<Value>(&body).unwrap());
            (document.key.subject, (document.operation, document.version, body))
        });
        let emitted: BTreeMap<_, _> = documents.collect();
        assert_eq!(emitted.len(), count, "each key once");
        assert_eq!(emitted, expected);

        let found = find(&table.reader(), &keys).await.unwrap().unwrap();
        for (key, found) in keys.iter().zip(found) {
            let found = found.map(|body| serde_json::from_slice::<Value>(&body).unwrap());
            assert_eq!(found.as_ref(), model.documents.get(&key.subject), "{key:?}");
        }
        let entries: Vec<_> = state.runs.iter().map(|run| run.entries).collect();
        assert!(entries.windows(2).all(|pair| pair[0] > 2 * pair[1]), "{entries:?}");
    }
}
