//! Creates the container or bucket of a lake.

use object_store::aws::AwsAuthorizer;
use object_store::azure::AzureAuthorizer;
use object_store::client::HttpRequest;

use super::direct::{self, Answer};
use super::error::{explain, scrub};
use super::store;
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
        Location::Azure { account, container, endpoint, .. } => {
            let address = direct::azure_container(account, container, endpoint.as_deref());
            let credential = store::azure(location, None)?.credentials().get_credential().await;
            let credential = credential.map_err(|e| explain("create the container of", url, &e))?;
            let mut request = direct::request("PUT", &format!("{address}?restype=container"), String::new(), url)?;
            let signed = AzureAuthorizer::new(&credential, account).try_authorize(&mut request);
            signed.map_err(|e| explain("create the container of", url, &e))?;
            judge_azure(ask(request, endpoint.as_deref(), url).await?, url)
        }
        Location::S3 { bucket, region, endpoint, .. } => {
            let credential = store::s3(location, None)?.credentials().get_credential().await;
            let credential = credential.map_err(|e| explain("create the bucket of", url, &e))?;
            let service = match endpoint {
                Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
                None => format!("https://s3.{region}.amazonaws.com"),
            };
            let mut request = direct::request("PUT", &format!("{service}/{bucket}"), bucket_place(region), url)?;
            let signed = AwsAuthorizer::new(&credential, "s3", region).try_authorize(&mut request, None);
            signed.map_err(|e| explain("create the bucket of", url, &e))?;
            judge_s3(ask(request, endpoint.as_deref(), url).await?, url)
        }
        Location::Gcs { bucket, .. } => {
            Err(Error::lake(format!("the bucket of `{url}` does not exist")).with_help(format!(
                "create it where its data is to be: `gcloud storage buckets create gs://{bucket} --location=REGION`"
            )))
        }
        Location::Local(_) | Location::Memory(_) => Err(Error::internal(format!("`{url}` has no container to create"))),
    }
}

/// The body of a CreateBucket request. The oldest region is the one that must not be named.
fn bucket_place(region: &str) -> String {
    match region {
        "us-east-1" => String::new(),
        region => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    }
}

/// <https://learn.microsoft.com/en-us/rest/api/storageservices/create-container>
fn judge_azure(answer: Answer, url: &str) -> Result<()> {
    match answer.status {
        201 => Ok(()),
        409 if answer.body.contains("ContainerAlreadyExists") => Ok(()),
        409 if answer.body.contains("ContainerBeingDeleted") => Err(refused("container", &answer, url)
            .with_help("Azure is still deleting a container of that name: wait a minute, then run again")),
        _ => Err(refused("container", &answer, url).with_help(ASK)),
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>
fn judge_s3(answer: Answer, url: &str) -> Result<()> {
    match answer.status {
        200 => Ok(()),
        409 if answer.body.contains("BucketAlreadyOwnedByYou") => Ok(()),
        409 if answer.body.contains("BucketAlreadyExists") => Err(refused("bucket", &answer, url).with_help(
            "the name belongs to another account or region: choose another name, or set the bucket's region",
        )),
        _ => Err(refused("bucket", &answer, url).with_help(ASK)),
    }
}

fn refused(what: &str, Answer { status, body }: &Answer, url: &str) -> Error {
    Error::lake(format!("the {what} of `{url}` does not exist and cannot be created: status {status}: {}", scrub(body)))
}

async fn ask(request: HttpRequest, endpoint: Option<&str>, url: &str) -> Result<Answer> {
    let client = direct::connect(endpoint, url)?;
    direct::send(&client, request).await.map_err(|e| explain("create the container of", url, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.to_owned() }
    }

    #[test]
    fn someone_quicker_is_fine_and_refusals_say_what_to_do() {
        assert!(judge_azure(answer(409, "<Code>ContainerAlreadyExists</Code>"), "u").is_ok());
        assert!(judge_s3(answer(409, "<Code>BucketAlreadyOwnedByYou</Code>"), "u").is_ok());
        let denied = judge_azure(answer(403, "<Code>AuthorizationFailure</Code>"), "abfss://c@a.dfs.core.windows.net/");
        assert_eq!(
            denied.unwrap_err().to_string(),
            "the container of `abfss://c@a.dfs.core.windows.net/` does not exist and cannot be created: \
             status 403: <Code>AuthorizationFailure</Code>\nhelp: create it, or give the credential the right to create it"
        );
        let taken = judge_s3(answer(409, "<Code>BucketAlreadyExists</Code>"), "s3://b/").unwrap_err();
        assert!(taken.help.as_deref().is_some_and(|help| help.contains("another account")), "{taken}");
        let deleting = judge_azure(answer(409, "<Code>ContainerBeingDeleted</Code>"), "u").unwrap_err();
        assert!(deleting.help.as_deref().is_some_and(|help| help.contains("wait")), "{deleting}");
    }

    #[tokio::test]
    async fn a_missing_google_bucket_is_for_people_to_create() {
        let location = Location::Gcs {
            bucket: "exports".into(),
            prefix: String::new(),
            endpoint: None,
            credential: crate::plan::GcsCredential::Anonymous,
        };
        let refused = create_container(&location, "gs://exports/").await.unwrap_err();
        assert!(
            refused.help.as_deref().is_some_and(|help| help.contains("gcloud storage buckets create gs://exports"))
        );
    }
}
