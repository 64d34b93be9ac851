//! What the `export_*!` macros expand to: the traits of this crate behind the functions of the interface.

use std::cell::RefCell;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::{catalog as c, filter as f, format as o, records, schema, transform as t};
use crate::{Batch, Error, Filter, Format, TableFormat, Transform, Widener};

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

/// How an encoder is opened.
pub trait Open<F>: 'static {
    fn open(config: &str, schema: Option<schema::TableSchema>) -> Result<F, records::Error>;
}

/// A format of records.
pub struct Records;

impl<F: Format> Open<F> for Records {
    fn open(config: &str, schema: Option<schema::TableSchema>) -> Result<F, records::Error> {
        match schema {
            None => Ok(F::open(parse(config)?)?),
            Some(schema) => {
                let text = format!("this format does not write tables, such as `{}`", schema.table);
                Err(Error::UnsupportedSchema(text).into())
            }
        }
    }
}

/// A format of tables, and perhaps of records too.
pub struct Tables;

impl<F: TableFormat> Open<F> for Tables {
    fn open(config: &str, schema: Option<schema::TableSchema>) -> Result<F, records::Error> {
        let config = parse(config)?;
        Ok(match schema {
            None => F::open(config)?,
            Some(schema) => F::open_table(config, schema)?,
        })
    }
}

/// A [`Format`] as the interface's `encoder`.
pub struct Encoder<F, O = Records>(RefCell<F>, PhantomData<O>);

impl<F: Format, O: Open<F>> o::exports::lakeport::plugin::format::GuestEncoder for Encoder<F, O> {
    fn open(
        config: String,
        schema: Option<schema::TableSchema>,
    ) -> Result<o::exports::lakeport::plugin::format::Encoder, records::Error> {
        let format = O::open(&config, schema)?;
        Ok(o::exports::lakeport::plugin::format::Encoder::new(Encoder::<F, O>(RefCell::new(format), PhantomData)))
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

/// The catalog of a [`TableFormat`].
pub fn paths<F: TableFormat>(config: &str) -> Result<Vec<String>, records::Error> {
    Ok(F::paths(&parse(config)?)?)
}

/// The catalog of a [`TableFormat`].
pub fn render<F: TableFormat>(
    config: &str,
    dataset: &crate::Dataset,
    previous: &[crate::CatalogFile],
) -> Result<Vec<crate::CatalogFile>, records::Error> {
    Ok(F::render(&parse(config)?, dataset, previous)?)
}

/// A [`TableFormat`]'s [`Widener`] as the interface's.
pub struct TableWidener<F: TableFormat>(RefCell<F::Widener>);

impl<F: TableFormat> c::exports::lakeport::plugin::catalog::GuestWidener for TableWidener<F> {
    fn open(
        config: String,
        before: schema::TableSchema,
        after: schema::TableSchema,
    ) -> Result<c::exports::lakeport::plugin::catalog::Widener, records::Error> {
        let widener = F::widen(&parse(&config)?, &before, &after)?;
        Ok(c::exports::lakeport::plugin::catalog::Widener::new(TableWidener::<F>(RefCell::new(widener))))
    }

    fn push(&self, bytes: Vec<u8>) -> Result<Vec<u8>, records::Error> {
        Ok(self.0.borrow_mut().push(&bytes)?)
    }

    fn finish(&self) -> Result<Vec<u8>, records::Error> {
        Ok(self.0.borrow_mut().finish()?)
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
