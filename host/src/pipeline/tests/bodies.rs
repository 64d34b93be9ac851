//! Bodies that a transform passes on as they are: they stay what they were, JSON or not.

use arrow_array::BinaryViewArray;

use super::*;
use crate::plan::Envelope;
use crate::plugin::Transformed;

/// Answers with every body as it came; with none as an empty one, as there is no other way to.
struct PassOn(Vec<ColumnRequest>);

impl Transform for PassOn {
    fn columns(&self) -> &[ColumnRequest] {
        &self.0
    }

    fn apply(&mut self, rows: usize, columns: &[ArrayRef]) -> Result<Transformed, Failure> {
        let bodies = columns[0].as_binary_view().iter().map(|body| Some(body.unwrap_or_default()));
        Ok(Transformed {
            origins: (0..u32::try_from(rows).unwrap()).collect(),
            bodies: Some(bodies.collect::<BinaryViewArray>()),
            attributes: Vec::new(),
            rejected: Vec::new(),
        })
    }

    fn set_moment(&mut self, _: Moment) {}
}

/// A body as text, as bytes, and what a pointer finds in it.
fn shown(columns: &[ArrayRef]) -> Vec<u8> {
    let (texts, bytes) = (columns[0].as_string_view(), columns[1].as_binary_view());
    let rows = texts.iter().zip(bytes).zip(columns[2].as_string_view());
    rows.map(|((text, bytes), found)| format!("{:?}\n", (text, bytes, found))).collect::<String>().into()
}

struct Tools;

impl Toolbox for Tools {
    fn filter(&self, _: &PluginUse, _: Moment) -> Result<Box<dyn Filter>> {
        unreachable!("the export has no filters")
    }

    fn transform(&self, _: &PluginUse, _: Moment) -> Result<Box<dyn Transform>> {
        Ok(Box::new(PassOn(vec![ColumnRequest::attribute(Attribute::Body, ColumnType::Bytes)])))
    }

    fn format(&self, _: &PluginUse, _: Moment) -> Result<Box<dyn Format>> {
        Ok(Box::new(Lines {
            columns: vec![
                ColumnRequest::attribute(Attribute::Body, ColumnType::Text),
                ColumnRequest::attribute(Attribute::Body, ColumnType::Bytes),
                ColumnRequest::pointer("/t", ColumnType::Text),
            ],
            file_type: FileType { extension: "txt".into(), content_type: "text/plain".into(), appendable: true },
            lines: shown,
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transform_that_passes_bodies_on_changes_none_of_them() {
    let mut written = Vec::new();
    for transforms in 0..3 {
        let mut fixture = Fixture::with(1, |input| {
            let mut plan = super::plan(Files::Rolling, input);
            let mut source = SourcePlan::clone(&plan.source);
            source.mapping = Mapping::all(Envelope::IotHub, &Place::Envelope);
            plan.source = Arc::new(source);
            plan.transforms = vec![plan.format.clone(); transforms];
            plan
        });
        fixture.toolbox = Arc::new(Tools);
        let bodies = ["null", "\"\"", "\"no JSON\"", "\"AP8=\"", "{\"t\":1}"];
        let message = |body| format!("{{\"EnqueuedTimeUtc\":\"2019-09-10T08:00:00Z\",\"Body\":{body}}}\n");
        std::fs::write(fixture.input(), bodies.map(message).concat()).unwrap();
        let lake = Lake::with_store(Arc::new(InMemory::new()), "bodies", "_lakeport");
        let report = fixture.run(&lake).await;
        assert!(report.error.is_none(), "{:?}", report.error);
        let objects = lake.list("signals").await.unwrap();
        assert_eq!(objects.len(), 1);
        let bytes = lake.get(&objects[0].key).await.unwrap().unwrap().bytes;
        written.push(String::from_utf8(bytes.to_vec()).unwrap());
    }
    let expected = "(None, None, None)\n(Some(\"\"), Some([]), None)\n\
        (Some(\"no JSON\"), Some([110, 111, 32, 74, 83, 79, 78]), None)\n(None, Some([0, 255]), None)\n\
        (Some(\"{\\\"t\\\":1}\"), Some([123, 34, 116, 34, 58, 49, 125]), Some(\"1\"))\n";
    assert_eq!(written, [expected; 3]);
}
