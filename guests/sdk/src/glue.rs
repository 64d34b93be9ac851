//! What the `export_*!` macros expand to: the traits of this crate behind the functions of the interface.

use std::cell::RefCell;

use serde::de::DeserializeOwned;

use crate::bindings::{filter as f, format as o, records, transform as t};
use crate::{Batch, Error, Filter, Format, Transform};

fn parse<C: DeserializeOwned>(config: &str) -> Result<C, records::Error> {
    serde_json::from_str(config).map_err(|error| records::Error::InvalidConfig(error.to_string()))
}

/// The JSON Schema of a plugin's configuration.
pub fn config_schema<C: schemars::JsonSchema>() -> String {
    schemars::schema_for!(C).as_value().to_string()
}

fn batch(batch: records::Batch) -> Batch {
    Batch::new(batch.rows as usize, batch.columns)
}

/// A [`Filter`] as the interface's `predicate`.
pub struct Predicate<F>(F);

impl<F: Filter> f::exports::lakeport::plugin::filter::GuestPredicate for Predicate<F> {
    fn open(config: String) -> Result<f::exports::lakeport::plugin::filter::Predicate, records::Error> {
        let filter = F::open(parse(&config)?)?;
        Ok(f::exports::lakeport::plugin::filter::Predicate::new(Predicate(filter)))
    }

    fn columns(&self) -> Vec<records::ColumnRequest> {
        self.0.columns().0
    }

    fn evaluate(&self, rows: records::Batch) -> Result<f::exports::lakeport::plugin::filter::Verdict, records::Error> {
        let verdict = self.0.evaluate(&batch(rows))?;
        Ok(f::exports::lakeport::plugin::filter::Verdict { keep: verdict.keep, rejected: verdict.rejected })
    }
}

/// A [`Transform`] as the interface's `mapper`.
pub struct Mapper<T>(T);

impl<T: Transform> t::exports::lakeport::plugin::transform::GuestMapper for Mapper<T> {
    fn open(config: String) -> Result<t::exports::lakeport::plugin::transform::Mapper, records::Error> {
        let transform = T::open(parse(&config)?)?;
        Ok(t::exports::lakeport::plugin::transform::Mapper::new(Mapper(transform)))
    }

    fn columns(&self) -> Vec<records::ColumnRequest> {
        self.0.columns().0
    }

    fn apply(
        &self,
        rows: records::Batch,
    ) -> Result<t::exports::lakeport::plugin::transform::Transformed, records::Error> {
        use t::exports::lakeport::plugin::transform::{AttributeColumn, Transformed};
        let answer = self.0.apply(&batch(rows))?;
        let attributes = answer.attributes.into_iter();
        Ok(Transformed {
            origins: answer.origins,
            bodies: answer.bodies,
            attributes: attributes.map(|(attribute, column)| AttributeColumn { attribute, column }).collect(),
            rejected: answer.rejected,
        })
    }
}

/// A [`Format`] as the interface's `encoder`.
pub struct Encoder<F>(RefCell<F>);

impl<F: Format> o::exports::lakeport::plugin::format::GuestEncoder for Encoder<F> {
    fn open(
        config: String,
        schema: Option<o::lakeport::plugin::schema::TableSchema>,
    ) -> Result<o::exports::lakeport::plugin::format::Encoder, records::Error> {
        if let Some(schema) = schema {
            let error =
                Error::UnsupportedSchema(format!("this format does not write tables, such as `{}`", schema.table));
            return Err(error.into());
        }
        let format = F::open(parse(&config)?)?;
        Ok(o::exports::lakeport::plugin::format::Encoder::new(Encoder(RefCell::new(format))))
    }

    fn columns(&self) -> Vec<records::ColumnRequest> {
        self.0.borrow().columns().0
    }

    fn file_type(&self) -> o::exports::lakeport::plugin::format::FileType {
        self.0.borrow().file_type()
    }

    fn header(&self, file: o::exports::lakeport::plugin::format::FileContext) -> Result<Vec<u8>, records::Error> {
        // The interface says that a resumed file begins with nothing; a format need not think of it.
        let header = self.0.borrow_mut().header(&file)?;
        Ok(if file.resumed { Vec::new() } else { header })
    }

    fn encode(&self, rows: records::Batch) -> Result<o::exports::lakeport::plugin::format::Segment, records::Error> {
        Ok(self.0.borrow_mut().encode(&batch(rows))?)
    }

    fn trailer(&self) -> Result<Vec<u8>, records::Error> {
        Ok(self.0.borrow_mut().trailer()?)
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_info {
    ($exported:ident, $config:ty, $name:expr) => {
        impl $crate::bindings::info::exports::lakeport::plugin::info::Guest for $exported {
            fn describe() -> $crate::bindings::info::exports::lakeport::plugin::info::PluginInfo {
                $crate::bindings::info::exports::lakeport::plugin::info::PluginInfo {
                    name: String::from($name),
                    version: String::from(env!("CARGO_PKG_VERSION")),
                    summary: String::from(env!("CARGO_PKG_DESCRIPTION")),
                    config_schema: $crate::glue::config_schema::<$config>(),
                }
            }
        }
        $crate::bindings::info::export!($exported with_types_in $crate::bindings::info);
    };
}
