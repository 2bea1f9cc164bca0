/** Fields that Docker's answers have from one version of the API on, or had until one: minor versions of API 1. */

/** `EnableIPv4` of networks. */
export const ENABLE_IPV4_SINCE = 48;
/** `DNSNames` of endpoints. Before, the short id of a container was among its aliases: see SHORT_ID_ALIAS_UNTIL. */
export const DNS_NAMES_SINCE = 44;
export const SHORT_ID_ALIAS_UNTIL = 44;
/** `VirtualSize`, a second name of the size of an image. */
export const VIRTUAL_SIZE_UNTIL = 43;
/** Images without a name have `<none>` in place of one. */
export const NO_NAME_UNTIL = 42;
/** What an image's `Config` had of a container's, always empty. */
export const IMAGE_CONTAINER_FIELDS_UNTIL = 49;
/** `BridgeNfIptables`, `BridgeNfIp6tables`: without them older commands warn of what means nothing here. */
export const BRIDGE_NETFILTER_UNTIL = 49;
/** A prune of volumes leaves named ones alone, unless the filter `all` says otherwise. */
export const PRUNE_KEEPS_NAMED_SINCE = 42;
/** `shared-size` of a list of images; who asks for it before is not heard. */
export const SHARED_SIZE_SINCE = 42;
/** `ServiceStatus`; who asks for it before is not heard. */
export const SERVICE_STATUS_SINCE = 41;
/** The newest that is served, which is meant where nobody says. */
export const NEWEST_MINOR = 50;
