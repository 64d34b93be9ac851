//! Creates the container or bucket of a lake: the one request that `object_store` has no call for.

use object_store::HeaderValue;
use object_store::aws::AwsAuthorizer;
use object_store::azure::AzureAuthorizer;
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};

use super::error::{explain, scrub};
use super::store::{self, Patience};
use crate::plan::Location;
use crate::{Error, Result};

/// What to do where it cannot be created.
const ASK: &str = "create it, or give the credential the right to create it";

/// Creates what `location` names, which was found missing. That someone else is quicker is fine.
///
/// # Errors
///
/// No right to create it, a name that is taken, or a store where it is not ours to create: the help says what to do.
pub(super) async fn create_container(location: &Location, url: &str) -> Result<()> {
    match location {
        Location::Azure { .. } => create_azure_container(location, url).await,
        Location::S3 { .. } => create_s3_bucket(location, url).await,
        Location::Gcs { bucket, .. } => Err(Error::lake(format!("the bucket of `{url}` does not exist")).with_help(format!(
            "create it where you want its data to be: `gcloud storage buckets create gs://{bucket} --location=REGION`"
        ))),
        Location::Local(_) | Location::Memory(_) => Err(Error::internal(format!("`{url}` has no container to create"))),
    }
}

/// <https://learn.microsoft.com/en-us/rest/api/storageservices/create-container>
async fn create_azure_container(location: &Location, url: &str) -> Result<()> {
    let Location::Azure { account, container, endpoint, .. } = location else {
        return Err(Error::internal("the location of another store was created as Azure"));
    };
    let credential = store::azure(location, Patience::Short)?.credentials().get_credential().await;
    let credential = credential.map_err(|e| explain("create the container of", url, &e))?;
    let service = match endpoint {
        Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
        None => format!("https://{account}.blob.core.windows.net"),
    };
    let mut request = put(&format!("{service}/{container}?restype=container"), String::new(), url)?;
    let signed = AzureAuthorizer::new(&credential, account).try_authorize(&mut request);
    signed.map_err(|e| explain("create the container of", url, &e))?;
    let answer = send(request, endpoint.as_deref(), url).await?;
    match answer.status {
        201 => Ok(()),
        409 if answer.body.contains("ContainerAlreadyExists") => Ok(()),
        409 if answer.body.contains("ContainerBeingDeleted") => Err(answer
            .refused("container", url)
            .with_help("Azure is still deleting a container of that name: wait a minute, then run again")),
        _ => Err(answer.refused("container", url).with_help(ASK)),
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>
async fn create_s3_bucket(location: &Location, url: &str) -> Result<()> {
    let Location::S3 { bucket, region, endpoint, .. } = location else {
        return Err(Error::internal("the location of another store was created as S3"));
    };
    let credential = store::s3(location, Patience::Short)?.credentials().get_credential().await;
    let credential = credential.map_err(|e| explain("create the bucket of", url, &e))?;
    let service = match endpoint {
        Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
        None => format!("https://s3.{region}.amazonaws.com"),
    };
    // The oldest region is the one that must not be named.
    let body = match region.as_str() {
        "us-east-1" => String::new(),
        region => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    };
    let mut request = put(&format!("{service}/{bucket}"), body, url)?;
    let signed = AwsAuthorizer::new(&credential, "s3", region).try_authorize(&mut request, None);
    signed.map_err(|e| explain("create the bucket of", url, &e))?;
    let answer = send(request, endpoint.as_deref(), url).await?;
    match answer.status {
        200 => Ok(()),
        409 if answer.body.contains("BucketAlreadyOwnedByYou") => Ok(()),
        409 if answer.body.contains("BucketAlreadyExists") => Err(answer.refused("bucket", url).with_help(
            "the name belongs to another account or region: choose another name, or set the bucket's region",
        )),
        _ => Err(answer.refused("bucket", url).with_help(ASK)),
    }
}

fn put(address: &str, body: String, url: &str) -> Result<HttpRequest> {
    let length = HeaderValue::from(body.len());
    let mut request = HttpRequest::new(match body.is_empty() {
        true => HttpRequestBody::empty(),
        false => HttpRequestBody::from(body),
    });
    let invalid = |e: &dyn std::fmt::Display| Error::lake(format!("cannot address `{url}`: {}", scrub(&e.to_string())));
    *request.method_mut() = "PUT".parse().map_err(|e| invalid(&e))?;
    *request.uri_mut() = address.parse().map_err(|e| invalid(&e))?;
    request.headers_mut().insert("content-length", length);
    Ok(request)
}

struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn refused(&self, what: &str, url: &str) -> Error {
        let Answer { status, body } = self;
        Error::lake(format!(
            "the {what} of `{url}` does not exist and cannot be created: status {status}: {}",
            scrub(body)
        ))
    }
}

async fn send(request: HttpRequest, endpoint: Option<&str>, url: &str) -> Result<Answer> {
    let failed = |e: &(dyn std::error::Error + 'static)| explain("create the container of", url, e);
    let client = ReqwestConnector::default().connect(&store::client_options(endpoint)).map_err(|e| failed(&e))?;
    let response = client.execute(request).await.map_err(|e| failed(&e))?;
    let status = response.status().as_u16();
    let body = response.into_body().bytes().await.map_err(|e| failed(&e))?;
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}
