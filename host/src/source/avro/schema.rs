//! Schemas: what the bytes of a record are, told from the JSON that a file's header holds.
//!
//! Only what is needed to read: logical types, defaults, aliases and documentation say nothing about the bytes.

use std::collections::HashMap;

use serde_json::Value;

/// The types of a schema, by number; they may refer to each other.
#[derive(Debug)]
pub struct Types {
    types: Vec<Type>,
    root: usize,
}

/// What a value is.
#[derive(Debug, PartialEq, Eq)]
pub enum Type {
    Null,
    Boolean,
    /// `int` or `long`: both are written alike.
    Integer,
    Float,
    Double,
    Bytes,
    /// `string`.
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    /// `name`: with its namespace.
    Record {
        name: String,
        fields: Vec<Field>,
    },
}

/// A field of a record.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub of: usize,
}

impl Types {
    /// The types of a schema.
    ///
    /// # Errors
    /// What was found and what was expected.
    pub fn parse(schema: &[u8]) -> Result<Types, String> {
        let schema: Value = serde_json::from_slice(schema).map_err(|error| format!("no JSON: {error}"))?;
        let mut parser = Parser { types: Vec::new(), names: HashMap::new() };
        let root = parser.parse(&schema, "")?;
        Ok(Types { types: parser.types, root })
    }

    /// What a file holds.
    pub fn root(&self) -> &Type {
        &self.types[self.root]
    }

    /// The number of what a file holds.
    pub fn root_number(&self) -> usize {
        self.root
    }

    /// The type with a number.
    pub fn get(&self, number: usize) -> &Type {
        &self.types[number]
    }
}

struct Parser {
    types: Vec<Type>,
    /// Named types by full name.
    names: HashMap<String, usize>,
}

impl Parser {
    fn parse(&mut self, schema: &Value, namespace: &str) -> Result<usize, String> {
        match schema {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.parse(branch, namespace)).collect::<Result<_, _>>()?;
                Ok(self.add(Type::Union(branches)))
            }
            Value::Object(_) => self.object(schema, namespace),
            other => Err(format!("`{other}`, expected a type's name, an object or an array")),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<usize, String> {
        let primitive = match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" | "long" => Type::Integer,
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "string" => Type::Text,
            _ => {
                let known = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
                return known.copied().ok_or_else(|| format!("there is no type `{name}`"));
            }
        };
        Ok(self.add(primitive))
    }

    fn object(&mut self, schema: &Value, namespace: &str) -> Result<usize, String> {
        let part = |key: &str| schema.get(key).ok_or_else(|| format!("`{schema}` has no `{key}`"));
        match part("type")?.as_str() {
            Some("array") => {
                let items = self.parse(part("items")?, namespace)?;
                Ok(self.add(Type::Array(items)))
            }
            Some("map") => {
                let values = self.parse(part("values")?, namespace)?;
                Ok(self.add(Type::Map(values)))
            }
            Some("fixed") => {
                let size = part("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                let number = self.add(Type::Fixed(size.ok_or("the `size` of a `fixed` is no whole number")?));
                self.declare(schema, namespace, number)?;
                Ok(number)
            }
            Some("enum") => {
                let symbols = part("symbols")?.as_array().into_iter().flatten();
                let symbols = symbols.filter_map(|symbol| symbol.as_str().map(str::to_owned)).collect();
                let number = self.add(Type::Enum(symbols));
                self.declare(schema, namespace, number)?;
                Ok(number)
            }
            Some("record" | "error") => {
                // Its fields may refer to it.
                let number = self.add(Type::Null);
                let name = self.declare(schema, namespace, number)?;
                let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
                let mut fields = Vec::new();
                for field in part("fields")?.as_array().into_iter().flatten() {
                    let (Some(field_name), Some(of)) = (field.get("name").and_then(Value::as_str), field.get("type"))
                    else {
                        return Err(format!("`{field}`, expected a field with `name` and `type`"));
                    };
                    fields.push(Field { name: field_name.to_owned(), of: self.parse(of, namespace)? });
                }
                self.types[number] = Type::Record { name, fields };
                Ok(number)
            }
            Some(name) => self.named(name, namespace),
            // A type in an object of its own.
            None => self.parse(part("type")?, namespace),
        }
    }

    /// Remembers a named type; answers with its full name.
    fn declare(&mut self, schema: &Value, namespace: &str, number: usize) -> Result<String, String> {
        let name = schema.get("name").and_then(Value::as_str).ok_or_else(|| format!("`{schema}` has no `name`"))?;
        let namespace = schema.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let name = full_name(name, namespace);
        self.names.insert(name.clone(), number);
        Ok(name)
    }

    fn add(&mut self, of: Type) -> usize {
        self.types.push(of);
        self.types.len() - 1
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}
